//! One page of the browser.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::wire::Wire;
use crate::wait::until;

/// Collects what a page complains of before any of its scripts runs.
const WATCH: &str = "
    window.complaints = [];
    addEventListener('securitypolicyviolation', (event) =>
        complaints.push(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
";

/// A page, looked at through its document.
#[derive(Debug)]
pub struct Page {
    pub(super) wire: Arc<Wire>,
    pub(super) session: String,
    context: String,
}

impl Page {
    /// A new tab of the visitor whose profile is `context`; the tabs before it are hidden.
    pub(super) async fn new(wire: Arc<Wire>, context: String, width: u32, height: u32) -> Self {
        let target = json!({"url": "about:blank", "browserContextId": context});
        let target = wire.call(None, "Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = wire.call(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let page = Self { wire, session, context };
        for domain in ["Page", "Runtime", "Network", "Log", "HeapProfiler"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH})).await;
        page.resize(width, height).await;
        page
    }

    /// A command of the protocol.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        self.wire.call(Some(&self.session), method, params).await
    }

    /// Another tab of the same visitor, which hides this one.
    pub async fn another(&self) -> Self {
        Self::new(Arc::clone(&self.wire), self.context.clone(), 800, 600).await
    }

    /// Gives the window this size.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Says what the system prefers: `dark` or `light`.
    pub async fn prefers(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// When nothing is there.
    pub async fn open(&self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url})).await;
        assert!(answer.get("errorText").is_none(), "{url}: {}", answer["errorText"]);
    }

    /// What an expression is worth in the page; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    pub async fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", params).await;
        match answer.get("exceptionDetails") {
            Some(error) => Err(error["exception"]["description"].as_str().unwrap_or("threw").to_owned()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true, or anything else than nothing, and returns it; it may throw before.
    ///
    /// # Panics
    /// When it does not become so in time.
    pub async fn until(&self, what: &str, within: Duration, expression: &str) -> Value {
        until(what, within, async || {
            let value = self.try_eval(expression).await.ok()?;
            (!value.is_null() && value != false && value != "").then_some(value)
        })
        .await
    }

    /// Clicks on the first element of a selector.
    ///
    /// # Panics
    /// When there is none.
    pub async fn click(&self, selector: &str) {
        self.eval(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    /// Presses a key, such as `Tab` or `/`.
    pub async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            _ => (0, key),
        };
        let down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", down).await;
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code})).await;
    }

    /// Types into what has the focus.
    pub async fn type_text(&self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// The bytes of the page's heap after a collection.
    ///
    /// # Panics
    /// When the browser does not tell.
    pub async fn heap(&self) -> f64 {
        for _ in 0..2 {
            self.call("HeapProfiler.collectGarbage", json!({})).await;
        }
        self.call("Runtime.getHeapUsage", json!({})).await["usedSize"].as_f64().expect("the size of the heap")
    }

    /// Writes what is seen as PNG.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn screenshot(&self, path: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let bytes = base64(answer["data"].as_str().expect("a picture"));
        std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// What the page has complained of: errors, warnings of the browser, violations of its policy.
    pub async fn complaints(&self) -> Vec<String> {
        let mut found: Vec<String> =
            serde_json::from_value(self.eval("window.complaints ?? []").await).unwrap_or_default();
        for event in self.wire.events(&self.session) {
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => found.push(params["exceptionDetails"].to_string()),
                Some("Runtime.consoleAPICalled") => found.push(params["args"].to_string()),
                Some("Log.entryAdded")
                    if params["entry"]["level"] != "info" && params["entry"]["level"] != "verbose" =>
                {
                    found.push(format!("{} {}", params["entry"]["text"], params["entry"]["url"]));
                }
                _ => {}
            }
        }
        found
    }

    /// The addresses that the page has asked for.
    pub fn requests(&self) -> Vec<String> {
        let events = self.wire.events(&self.session);
        let sent = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| Some(event["params"]["request"]["url"].as_str()?.to_owned())).collect()
    }

    /// How many streams of events it holds open.
    pub fn streams(&self) -> usize {
        let events = self.wire.events(&self.session);
        let of = |wanted: fn(&Value) -> bool| -> HashSet<&str> {
            events
                .iter()
                .filter(|event| wanted(event))
                .filter_map(|event| event["params"]["requestId"].as_str())
                .collect()
        };
        let opened =
            of(|event| event["method"] == "Network.requestWillBeSent" && event["params"]["type"] == "EventSource");
        let ended =
            of(|event| event["method"] == "Network.loadingFinished" || event["method"] == "Network.loadingFailed");
        opened.difference(&ended).count()
    }

    /// Forgets what it has complained of and asked for.
    pub fn forget(&self) {
        self.wire.forget(&self.session);
    }
}

/// The bytes of a base64 text without line breaks.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        held = (held << 6) | u32::from(digit(byte));
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(((held >> bits) & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(text), bytes.as_bytes());
        }
        assert_eq!(base64("+/8="), [0xfb, 0xff]);
    }
}
