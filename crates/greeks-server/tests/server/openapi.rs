//! The description of the interface against the interface.

use std::collections::BTreeSet;

use crate::support::{config, no_database, start};
use greeks_processor::book::{BookConfig, LiveBook};
use serde_json::Value;

/// Every value under every key `name`, however deep.
fn under<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            if key == name {
                found.push(value);
            }
            under(value, name, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| under(value, name, found)),
        _ => {}
    }
}

#[tokio::test]
async fn methods_are_described_exactly_as_they_are_answered() {
    let server = start(config(), LiveBook::new(BookConfig::default()), no_database()).await;
    let answer = server.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 14, "{:?}", paths.keys());
    for (path, item) in paths.iter().filter(|(path, _)| *path != "/v1/stream") {
        for method in ["get", "post", "put", "patch", "delete"] {
            let answer = server.request(&method.to_uppercase(), path, "", "").await;
            assert_ne!(answer.status, 404, "{method} {path}");
            assert_eq!(answer.status == 405, item.get(method).is_none(), "{method} {path}: {answer:?}");
            if answer.status == 405 {
                let allowed: BTreeSet<String> =
                    answer.header("allow").unwrap().split(',').map(|m| m.trim().to_lowercase()).collect();
                let described: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
                assert_eq!(&allowed - &BTreeSet::from(["head".to_owned()]), described, "{path}");
                assert_eq!(answer.json()["status"], 405);
            }
        }
    }
}

#[tokio::test]
async fn the_description_is_whole() {
    let server = start(config(), LiveBook::new(BookConfig::default()), no_database()).await;
    let document = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut references = Vec::new();
    under(&document, "$ref", &mut references);
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{what}");
            assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{what}: {operation}");
            let responses = operation["responses"].as_object().unwrap();
            let mut wanted = vec!["400", "403", "405", "503"];
            if path != "/healthz" {
                wanted.push("401");
            }
            if method == "post" {
                wanted.extend(["408", "413", "415", "422"]);
            }
            for status in wanted {
                let content = &responses.get(status).unwrap_or_else(|| panic!("{what} {status}"))["content"];
                assert!(content["application/problem+json"]["schema"]["$ref"].is_string(), "{what} {status}");
            }
            let good = responses.iter().filter(|(status, _)| status.starts_with('2'));
            assert_eq!(good.count(), 1, "{what}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{what} {parameter}");
            }
        }
    }
}
