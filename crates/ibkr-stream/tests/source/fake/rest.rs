//! The REST half.

use std::sync::{Arc, Mutex};

use broker_net::testkit::{Reply, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;

use super::{Answer, Held, State, stock_row};

const API: &str = "/v1/api";
const PAGE: usize = 100;

/// Method and path below the API.
pub(crate) fn call(request: &Request) -> String {
    request.line.replacen(API, "", 1)
}

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    overrides: Arc<Mutex<Vec<Answer>>>,
    sockets: Sender<TcpStream>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        let (state, overrides, sockets) = (Arc::clone(&state), Arc::clone(&overrides), sockets.clone());
        tasks.spawn(async move {
            if is_upgrade(&socket).await {
                // The test may have ended.
                let _ = sockets.send(socket).await;
                return;
            }
            let Some(request) = Request::read(&mut socket).await else { return };
            state.lock().unwrap().requests.push(request.clone());
            let special = overrides.lock().unwrap().iter().find_map(|answer| answer(&request));
            let reply = special.unwrap_or_else(|| plain_answer(&request, &mut state.lock().unwrap()));
            reply.send(&mut socket).await;
        });
    }
}

/// Whether a connection asks for the websocket: its first bytes say so, and are left where they are.
async fn is_upgrade(socket: &TcpStream) -> bool {
    let expected = format!("GET {API}/ws ");
    let mut head = vec![0; expected.len()];
    loop {
        match socket.peek(&mut head).await {
            Ok(read) if read == expected.len() => return head == expected.as_bytes(),
            Ok(read) if read > 0 && expected.as_bytes().starts_with(&head[..read]) => tokio::task::yield_now().await,
            _ => return false,
        }
    }
}

fn plain_answer(request: &Request, state: &mut State) -> Reply {
    if !state.logged_in {
        return Reply::status(401, r#"{"error":"not authenticated","statusCode":401}"#);
    }
    let call = call(request);
    let parts: Vec<&str> = call.split(['/', '?']).skip(1).collect();
    match (call.split(' ').next().unwrap_or_default(), parts.as_slice()) {
        (_, ["tickle"]) => Reply::ok(format!(
            r#"{{"session":"{}","ssoExpires":460311,"collission":false,"userId":1,"hmds":{{"error":"no bridge"}},"iserver":{{"authStatus":{}}}}}"#,
            state.session,
            status(state)
        )),
        (_, ["iserver", "auth", "status"]) => Reply::ok(status(state)),
        ("POST", ["iserver", "auth", "ssodh", "init"]) => init(request, state),
        ("GET", ["iserver", "accounts"]) if !state.authenticated => no_bridge(),
        ("GET", ["iserver", "accounts"]) => {
            state.primed = true;
            let accounts = state.accounts.join("\",\"");
            Reply::ok(format!(
                r#"{{"accounts":["{accounts}"],"selectedAccount":"{}","isPaper":true}}"#,
                state.accounts[0]
            ))
        }
        ("GET", ["portfolio", "accounts"]) => {
            state.listed = true;
            let entry = |id: &String| format!(r#"{{"id":"{id}","accountId":"{id}","faclient":false,"parent":{{}}}}"#);
            Reply::ok(format!("[{}]", state.accounts.iter().map(entry).collect::<Vec<_>>().join(",")))
        }
        ("GET" | "POST", ["portfolio" | "portfolio2", ..]) if !state.listed => {
            state.violations.push(format!("{call} before the accounts"));
            Reply::status(400, r#"{"error":"Please query /accounts first"}"#)
        }
        ("GET", ["portfolio", account, "positions", page]) => positions(account, page.parse().unwrap(), state),
        // Older gateways do not have it.
        ("GET", ["portfolio2", _, "positions"]) => Reply::status(404, r#"{"error":"not found"}"#),
        ("POST", ["portfolio", account, "positions", "invalidate"]) => {
            state.cached.retain(|it| it.account != *account);
            let fresh: Vec<Held> = state.held.iter().filter(|it| it.account == *account).cloned().collect();
            state.cached.extend(fresh);
            Reply::ok(r#"{"message":"success"}"#)
        }
        (_, ["trsrv", "secdef", ..]) => Reply::ok(r#"{"secdef":[]}"#),
        _ => {
            state.violations.push(format!("{call} is not known"));
            Reply::status(404, r#"{"error":"not found"}"#)
        }
    }
}

fn status(state: &State) -> String {
    let State { authenticated, taken, fail, .. } = state;
    format!(
        r#"{{"authenticated":{authenticated},"established":{authenticated},"competing":{taken},"connected":{authenticated},"message":"","serverInfo":{{"serverName":null}},"fail":"{fail}"}}"#
    )
}

fn init(request: &Request, state: &mut State) -> Reply {
    if state.authenticated && !state.taken {
        state.violations.push("ssodh/init of a session that is open".into());
    }
    if !request.body.contains(r#""publish":true"#) {
        return Reply::status(500, "{}");
    }
    let competes = request.body.contains(r#""compete":true"#);
    if !state.init_fails && (competes || !state.taken) {
        state.authenticated = true;
        state.taken = false;
        state.primed = false;
        state.fail.clear();
    }
    Reply::ok(status(state))
}

fn no_bridge() -> Reply {
    Reply::status(400, r#"{"error":"Bad Request: no bridge","statusCode":400}"#)
}

fn positions(account: &str, page: usize, state: &State) -> Reply {
    let held = state.cached.iter().filter(|it| it.account == account).map(Held::row);
    let rows: Vec<String> = std::iter::once(stock_row()).chain(held).collect();
    let page = rows.chunks(PAGE).nth(page).unwrap_or_default();
    Reply::ok(format!("[{}]", page.join(",")))
}
