//! The page's files as they are served, and the rules they keep.

use std::path::{Path, PathBuf};

use crate::support::{Running, config, no_database, start};
use greeks_processor::book::{BookConfig, LiveBook};
use ring::digest::{SHA256, digest};
use serde_json::Value;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("page")
}

/// What is to be served: every file of the directory that the page may ask for, by its path.
fn files() -> Vec<String> {
    let names = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let own = names(&directory()).into_iter().filter(|name| !name.ends_with(".html") && !name.ends_with(".png"));
    let others = names(&directory().join("vendor")).into_iter().filter(|name| !name.ends_with(".json"));
    own.chain(others.map(|name| format!("vendor/{name}"))).collect()
}

async fn server() -> Running {
    start(config(), LiveBook::new(BookConfig::default()), no_database()).await
}

/// The values of an attribute in a text.
fn values<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

#[tokio::test]
async fn every_file_is_served_as_what_it_is() {
    let server = server().await;
    let files = files();
    assert!(files.len() > 20, "{files:?}");
    for name in &files {
        let answer = server.get(&format!("/page/{name}")).await;
        assert_eq!(answer.status, 200, "{name} is not in the table of routes/page.rs");
        assert_eq!(answer.body, std::fs::read_to_string(directory().join(name)).unwrap(), "{name}");
        let kind = match name.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{name}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{name}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{name}");
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'self';"), "{name}");
        let etag = answer.header("etag").unwrap();
        let again = server.request("GET", &format!("/page/{name}"), &format!("If-None-Match: {etag}\r\n"), "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{name}");
        let other = server.request("GET", &format!("/page/{name}"), "If-None-Match: \"0\"\r\n", "").await;
        assert_eq!(other.status, 200, "{name}");
    }
    for nothing in ["/page/", "/page/index.html", "/page/../Cargo.toml", "/page/%2e%2e/Cargo.toml", "/page/main.js/"] {
        assert_eq!(server.get(nothing).await.status, 404, "{nothing}");
    }
    assert_eq!(server.get("/page/main.js?x=1").await.status, 400);
    assert_eq!(server.post("/page/main.js", "{}").await.status, 405);
}

#[tokio::test]
async fn the_page_asks_for_nothing_that_is_not_served() {
    let server = server().await;
    let page = server.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let mut asked: Vec<String> = values(&page.body, "src=\"")
        .chain(values(&page.body, "rel=\"stylesheet\" href=\""))
        .map(str::to_owned)
        .collect();
    for name in files().iter().filter(|name| name.ends_with(".js") && !name.starts_with("vendor/")) {
        let text = std::fs::read_to_string(directory().join(name)).unwrap();
        asked.extend(values(&text, "from \"./").map(|module| format!("/page/{module}")));
    }
    assert!(asked.len() > 30, "{asked:?}");
    for target in asked {
        assert_eq!(server.get(&target).await.status, 200, "{target}");
    }
}

/// Words that have no place in the page: each would let text become markup or code, or would leave this machine.
const FORBIDDEN: [&str; 10] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "eval(",
    "new Function",
    " style=",
    " onclick=",
    "https://",
];

fn offences(text: &str) -> Vec<&'static str> {
    FORBIDDEN.into_iter().filter(|word| text.contains(word)).collect()
}

#[test]
fn text_never_becomes_markup() {
    let mut names = files();
    names.retain(|name| !name.starts_with("vendor/"));
    names.push("index.html".into());
    for name in names {
        let text = std::fs::read_to_string(directory().join(&name)).unwrap();
        assert_eq!(offences(&text), Vec::<&str>::new(), "{name}");
        assert!(text.lines().count() < 400, "{name} is too long to be read in one sitting");
    }
    assert_eq!(offences("cell.innerHTML = symbol"), ["innerHTML"]);
}

#[test]
fn what_others_made_is_what_they_published() {
    let vendor = directory().join("vendor");
    let list: Value = serde_json::from_slice(&std::fs::read(vendor.join("vendor.json")).unwrap()).unwrap();
    let mut listed = Vec::new();
    for package in list["packages"].as_array().unwrap() {
        for name in ["name", "version", "licence", "source"] {
            assert!(package[name].as_str().is_some_and(|text| !text.is_empty()), "{package}");
        }
        for (name, sum) in package["files"].as_object().unwrap() {
            let found = digest(&SHA256, &std::fs::read(vendor.join(name)).unwrap());
            let found: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(sum, &found, "{name} is not what vendor.json says");
            listed.push(format!("vendor/{name}"));
        }
    }
    let mut present: Vec<String> = files().into_iter().filter(|name| name.starts_with("vendor/")).collect();
    listed.sort();
    present.sort();
    assert_eq!(listed, present, "each file beside vendor.json is listed there, and no other");
}
