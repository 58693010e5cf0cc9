//! The OpenAPI document, and the reference that is rendered from it.

use std::{collections::BTreeSet, fs, path::Path};

use nxmesh_server::{document, routes};
use reqwest::Method;
use serde_json::Value;

use crate::given::server;

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let served = format!("{:#}\n", document());
    if fs::read_to_string(&path).unwrap_or_default() != served {
        fs::write(&path, served).unwrap();
        panic!(
            "docs/openapi.json was not up to date: it is written anew; look at the difference, and commit it"
        );
    }
}

#[test]
fn every_route_is_in_the_document() {
    let document = document();
    let under_v1 = routes().into_iter().map(|it| (it.method, format!("/v1{}", it.path)));
    let beside = ["/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"];
    let beside = beside.map(|path| (Method::GET, path.to_owned()));
    let expected: BTreeSet<_> = under_v1
        .chain(beside)
        .map(|(method, path)| (path, method.to_string().to_ascii_lowercase()))
        .collect();
    let found = operations(&document).map(|(path, method, _)| (path.to_owned(), method.to_owned()));
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn the_document_is_for_everybody() {
    let answer = server().await.send_bare(Method::GET, "/v1/openapi.json", None).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.body, document());
}

#[test]
fn every_operation_is_whole() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let shown = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{shown}: not unique");
        let named = path.matches('{').count();
        let described = operation["parameters"].as_array().unwrap();
        let described = described.iter().filter(|it| it["in"] == "path").count();
        assert_eq!(named, described, "{shown}: parameters of the path");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|it| it.starts_with('2') || it == "101"), "{shown}: no answer");
        for content in contents(operation) {
            let told = content["example"].is_null();
            let plain = content["schema"]["type"].is_string();
            assert!(plain || !told, "{shown}: examples.json has no {}", content["schema"]);
        }
    }
}

#[test]
fn what_is_sent_has_limits() {
    let document = document();
    let mut unlimited = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
        for (_, content) in content {
            let at = format!("{method} {path}");
            find_unlimited(&document, &content["schema"], &at, &mut unlimited);
        }
    }
    assert!(unlimited.is_empty(), "without limits, see nxmesh-core/src/openapi: {unlimited:#?}");
}

#[test]
fn every_limit_is_of_something() {
    let document = document();
    for (place, _) in nxmesh_core::openapi::limits() {
        let (name, field) = place.split_once('.').unwrap_or((place, ""));
        let schema = &document["components"]["schemas"][name];
        let found = if field.is_empty() { schema } else { &schema["properties"][field] };
        assert!(found.is_object(), "there is no {place}");
    }
}

#[test]
fn every_reference_is_to_something() {
    let document = document();
    walk(&document, &mut |value| {
        if let Some(reference) = value["$ref"].as_str() {
            let found = document.pointer(reference.trim_start_matches('#'));
            assert!(found.is_some(), "there is no {reference}");
        }
    });
}

#[test]
fn descriptions_are_for_readers_of_the_document() {
    walk(&document(), &mut |value| {
        if let Some(text) = value["description"].as_str() {
            let of_code = ["[`", "`]", "See `", "`None`"].iter().any(|it| text.contains(it));
            assert!(!of_code && !text.is_empty(), "{text}");
        }
    });
}

#[cfg(feature = "docs")]
#[tokio::test]
async fn the_reference_needs_nothing_from_elsewhere() {
    let given = server().await;
    let page = given.send_bare(Method::GET, "/docs", None).await;
    let text = page.body.as_str().unwrap();
    let mut assets = 0;
    for attribute in ["src=\"", "href=\""] {
        for rest in text.split(attribute).skip(1) {
            let (asset, _) = rest.split_once('"').unwrap();
            assert!(!asset.contains("//"), "{asset} is elsewhere");
            let path = format!("/docs/{}", asset.trim_start_matches("./"));
            let found = given.send_bare(Method::GET, &path, None).await;
            assert_eq!(found.status, 200, "{path}");
            assets += 1;
        }
    }
    assert!(assets >= 3, "{text}");
    let script = given.send_bare(Method::GET, "/docs/swagger-initializer.js", None).await;
    assert!(script.body.to_string().contains("../v1/openapi.json"), "{}", script.body);
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    let missing = given.send_bare(Method::GET, "/docs/nothing.js", None).await;
    assert_eq!(missing.refusal().0, 404);
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// What is sent and answered.
fn contents(operation: &Value) -> Vec<&Value> {
    let answers = operation["responses"].as_object().unwrap().values();
    let all = answers.chain([&operation["requestBody"]]);
    all.filter_map(|it| it["content"].as_object()).flat_map(|it| it.values()).collect()
}

fn find_unlimited(document: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        let mut target = target.clone();
        // What stands beside a reference holds too.
        for (keyword, value) in schema.as_object().unwrap().iter().filter(|it| it.0 != "$ref") {
            target[keyword] = value.clone();
        }
        return find_unlimited(document, &target, at, found);
    }
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    if schema["properties"].is_null() {
        one_of.for_each(|it| find_unlimited(document, it, at, found));
    }
    let is = |wanted: &str| {
        let types = schema["type"].as_array();
        schema["type"] == wanted || types.is_some_and(|it| it.iter().any(|it| it == wanted))
    };
    let known = |keyword: &str| !schema[keyword].is_null();
    let listed = known("enum") || known("const");
    let unlimited = (is("string") && !listed && !known("maxLength") && !known("format"))
        || (is("integer") && !(known("minimum") && known("maximum")))
        || (is("array") && !known("maxItems"))
        || (schema["additionalProperties"].is_object() && !known("maxProperties"))
        || (known("properties") && schema["additionalProperties"] != false);
    if unlimited {
        found.insert(at.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        find_unlimited(document, field, &format!("{at} {name}"), found);
    }
    find_unlimited_in(document, &schema["items"], &format!("{at}[]"), found);
    find_unlimited_in(document, &schema["additionalProperties"], &format!("{at}.*"), found);
}

fn find_unlimited_in(document: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if schema.is_object() {
        find_unlimited(document, schema, at, found);
    }
}

fn walk(value: &Value, f: &mut impl FnMut(&Value)) {
    f(value);
    match value {
        Value::Object(inner) => inner.values().for_each(|it| walk(it, f)),
        Value::Array(inner) => inner.iter().for_each(|it| walk(it, f)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
