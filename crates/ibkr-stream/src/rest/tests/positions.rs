//! Pages of positions.

use super::*;

fn rows(numbers: std::ops::Range<usize>) -> String {
    let rows: Vec<String> =
        numbers.map(|number| format!(r#"{{"conid":{},"position":1,"assetClass":"OPT"}}"#, number + 1)).collect();
    format!("[{}]", rows.join(","))
}

fn page_of(line: &str) -> usize {
    line.strip_prefix("GET /portfolio/U1234567/positions/").unwrap().parse().unwrap()
}

#[tokio::test]
async fn pages_are_read_to_the_empty_one() {
    // Three pages; the second one is short and not the last.
    let gateway = Gateway::start(|line| match page_of(line) {
        0 => rows(0..100),
        1 => rows(100..130),
        2 => rows(125..230),
        _ => "[]".into(),
    })
    .await;
    let positions = gateway.rest().positions(&account()).await.unwrap();
    assert_eq!((positions.rows.len(), positions.skipped.len()), (230, 0));
    assert_eq!(gateway.lines().len(), 4);
}

/// The names of contracts hold bytes of other encodings: that costs no row its place.
#[tokio::test]
async fn a_page_with_bytes_that_are_no_utf8_is_read() {
    let row = b"{\"conid\":1,\"position\":1,\"assetClass\":\"OPT\",\"name\":\"ACME\x99\"}";
    for start in [&b"["[..], b"\xef\xbb\xbf["] {
        let page = [start, row, br#",{"conid":2,"position":1,"assetClass":"OPT"}]"#].concat();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = crate::IbkrConfig::new(&format!("http://{}/v1/api", listener.local_addr().unwrap()));
        config.rest_spacing = Duration::ZERO;
        let rest = rest(&config);
        let answers = async {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                Request::read(&mut socket).await.unwrap();
                let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
                tokio::io::AsyncWriteExt::write_all(&mut socket, &[head.as_bytes(), &page].concat()).await.unwrap();
            }
        };
        let account = account();
        let read = tokio::select! { read = rest.positions(&account) => read.unwrap(), () = answers => unreachable!() };
        assert_eq!((read.rows.len(), read.skipped.len()), (2, 0));
    }
}

#[tokio::test]
async fn a_page_that_fails_fails_the_whole_read() {
    let failures = [(500, "oops"), (503, ""), (200, r#"{"error":"oops"}"#), (200, "{"), (0, "")];
    let ends = [(404, ""), (200, "{}"), (200, "null"), (200, r#"{"error":"not found","statusCode":404}"#)];
    let read = async |before: usize, answer: (u16, &'static str)| {
        let gateway = Gateway::start(move |line| match page_of(line) {
            0 if before > 0 => Reply::from(rows(0..before)),
            _ => answer.into(),
        })
        .await;
        gateway.rest().positions(&account()).await
    };
    for bad in failures {
        for before in [0, 99, 100] {
            assert!(read(before, bad).await.is_err(), "{bad:?} after {before}");
        }
    }
    // After a page that is not full, the end may be told so.
    for end in ends {
        for before in [0, 100] {
            assert!(read(before, end).await.is_err(), "{end:?} after {before}");
        }
        assert_eq!(read(99, end).await.unwrap().rows.len(), 99, "{end:?}");
    }
}

#[tokio::test]
async fn pages_without_end_are_left() {
    let gateway = Gateway::start(|_| rows(0..3)).await;
    assert_eq!(gateway.rest().positions(&account()).await.unwrap().rows.len(), 3);
    assert_eq!(gateway.lines().len(), 2, "the same page again");
    let gateway = Gateway::start(|line| rows(page_of(line)..page_of(line) + 1)).await;
    let error = gateway.rest().positions(&account()).await.unwrap_err();
    assert!(matches!(&error, Error::EndlessPages { pages: 200, account } if account == "··4567"), "{error}");
}
