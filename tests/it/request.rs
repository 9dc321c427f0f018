//! Any APIv3 request: what its path and query become, and what is refused before anything is sent.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use serde_json::json;
use wechatpay_contract::{InvalidField, Method, Request};

/// Values that mean something in a path, a query, a header or a template.
const VALUES: &[(&str, &str)] = &[
    (
        "1217752501201407033233368018",
        "1217752501201407033233368018",
    ),
    ("AZaz09-._~", "AZaz09-._~"),
    ("a/b", "a%2Fb"),
    ("a?b", "a%3Fb"),
    ("a#b", "a%23b"),
    ("100%", "100%25"),
    ("%2F", "%252F"),
    ("..%2f", "..%252f"),
    ("../..", "..%2F.."),
    ("...", "..."),
    ("a b", "a%20b"),
    ("a+b", "a%2Bb"),
    ("a&b=c;d", "a%26b%3Dc%3Bd"),
    ("!$'()*,:@", "%21%24%27%28%29%2A%2C%3A%40"),
    ("{a}", "%7Ba%7D"),
    ("\"<>\\^`|", "%22%3C%3E%5C%5E%60%7C"),
    ("\0\r\n\t\u{7F}", "%00%0D%0A%09%7F"),
    ("支付", "%E6%94%AF%E4%BB%98"),
    ("😀", "%F0%9F%98%80"),
];

#[track_caller]
fn refused(request: &Request, field: &str, problem: &str) {
    let error = request.target().unwrap_err();
    assert_eq!(error.field(), field);
    assert_eq!(error.problem(), problem);
    assert_eq!(error.to_string(), format!("{field}: {problem}"));
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

mod path {
    use super::*;

    #[test]
    fn variables_are_percent_encoded_and_read_back_as_given() {
        for (value, encoded) in VALUES {
            let request = Request::get("/v3/a/{b}/c").path("b", value);
            let target = request.target().unwrap();
            assert_eq!(target, format!("/v3/a/{encoded}/c"));
            assert!(
                target.bytes().all(|byte| byte.is_ascii_graphic()),
                "{target}"
            );
            let segments: Vec<_> = target.split('/').collect();
            assert_eq!(segments.len(), 5);
            assert_eq!(decoded(segments[3]), *value);
        }
    }

    #[test]
    fn variables_stand_for_segments_or_parts_of_them() {
        let target = |template: &'static str| {
            let request = Request::get(template).path("a", "x").path("b", "y/z");
            request.target().map(|target| target.into_owned())
        };
        assert_eq!(target("/{a}/{b}").unwrap(), "/x/y%2Fz");
        assert_eq!(target("/{b}/{a}").unwrap(), "/y%2Fz/x");
        assert_eq!(target("/{a}{b}").unwrap(), "/xy%2Fz");
        assert_eq!(target("/1-{a}.{b}@2/").unwrap(), "/1-x.y%2Fz@2/");
        assert_eq!(target("/{a}/{b}/{a}").unwrap(), "/x/y%2Fz/x");
    }

    #[test]
    fn values_are_not_templates() {
        let request = Request::get("/{a}/{b}").path("a", "{b}").path("b", "{a}");
        assert_eq!(request.target().unwrap(), "/%7Bb%7D/%7Ba%7D");
    }

    #[test]
    fn values_may_be_of_any_type_that_is_displayed() {
        let request = Request::get("/{number}/{text}/{char}")
            .path("number", 12535)
            .path(String::from("text"), String::from("a"))
            .path("char", 'b');
        assert_eq!(request.target().unwrap(), "/12535/a/b");
    }

    #[test]
    fn values_that_name_another_path_are_refused() {
        for value in ["", ".", ".."] {
            refused(
                &Request::get("/v3/{a}/b").path("a", value),
                "a",
                &format!("found {value:?}: as a part of the path it would name another path"),
            );
        }
    }

    #[test]
    fn variables_without_a_value_are_refused() {
        let problem = "found no value for this variable of the path /v3/{a}/{b}";
        let request = Request::get("/v3/{a}/{b}");
        refused(&request, "a", problem);
        let request = request.path("a", 1);
        refused(&request, "b", problem);
        assert_eq!(request.path("b", 2).target().unwrap(), "/v3/1/2");
    }

    #[test]
    fn values_without_a_variable_are_refused_and_their_names_not_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBg";
        for (name, found) in [
            ("b", "found 1 characters"),
            ("A", "found 1 characters"),
            ("", "is empty"),
            (secret, "found 32 characters"),
            (pem, "found the character '-'"),
            ("支付", "found the character '支'"),
        ] {
            let request = Request::get("/v3/{a}").path("a", 1);
            assert_eq!(request.target().unwrap(), "/v3/1");
            let problem =
                format!("name of a variable: {found}, wanted a variable of the path /v3/{{a}}");
            refused(&request.path(name, 2), "path", &problem);
        }
    }

    #[test]
    fn variables_with_two_values_are_refused() {
        let problem = "found two values for this variable of the path";
        for template in ["/v3/{a}", "/v3/{a}/{a}"] {
            let once = Request::get(template).path("a", 1);
            assert_eq!(once.target().unwrap(), template.replace("{a}", "1"));
            for value in [1, 2] {
                let twice = once.clone().path("a", value);
                refused(&twice, "a", &format!("{problem} {template}"));
            }
        }
    }

    #[test]
    fn paths_without_variables_are_taken_as_they_are() {
        for template in [
            "/",
            "/v3/certificates",
            "/v3/a/",
            "/v3//a",
            "/v3/a%2Fb",
            "/v3/!$&'()*+,;=:@-._~",
            "/v3/.well-known/a..b/...",
            "/v3/%2e%2e%2e/%41",
            "/v3/a%2F.b%5C",
            "/v3/a;b/..c;d/%20%80",
        ] {
            assert_eq!(Request::get(template).target().unwrap(), template);
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        let slash = "wanted a path that starts with '/'";
        let authority = "wanted a path, found the start of an authority";
        let characters = "wanted only characters of a percent-encoded path and {variables}; queries go to query()";
        let braces = "wanted each variable as {name}";
        let escapes = "wanted two hexadecimal digits after each '%'";
        let dots = "wanted a path without the segments '.' and '..'";
        let control = "wanted no escape of a control character";
        let table = [
            ("", slash),
            ("v3/a", slash),
            (" /v3/a", slash),
            ("{a}", slash),
            ("https://api.mch.weixin.qq.com/v3/a", slash),
            ("//", authority),
            ("//evil.example/v3/a", authority),
            ("/v3/a?b=c", characters),
            ("/v3/a?", characters),
            ("/v3/a#b", characters),
            ("/v3/a b", characters),
            ("/v3/a\r\nHost: evil.example", characters),
            ("/v3/a\0", characters),
            ("/v3/支付", characters),
            ("/v3/\\a", characters),
            ("/v3/{a b}", characters),
            ("/v3/{", braces),
            ("/v3/}", braces),
            ("/v3/{}", braces),
            ("/v3/{a", braces),
            ("/v3/a}", braces),
            ("/v3/}{", braces),
            ("/v3/}a{", braces),
            ("/v3/{a/b}", braces),
            ("/v3/{{a}}", braces),
            ("/v3/{a}}", braces),
            ("/v3/{a{b}", braces),
            ("/v3/{a}{", braces),
            ("/.", dots),
            ("/..", dots),
            ("/v3/./a", dots),
            ("/v3/../a", dots),
            ("/v3/a/..", dots),
            ("/v3/%2e%2e/a", dots),
            ("/v3/%2E/a", dots),
            ("/v3/.%2e", dots),
            ("/v3/%2e.", dots),
            ("/v3/..%2Fa", dots),
            ("/v3/a%2f..", dots),
            ("/v3/..%5ca", dots),
            ("/v3/..;/a", dots),
            ("/v3/..;b=c/a", dots),
            ("/v3/%2e%2e%3b/a", dots),
            ("/v3/a%00", control),
            ("/v3/a%0d%0aHost:b", control),
            ("/v3/%7F", control),
            ("/v3/%zz", escapes),
            ("/v3/%", escapes),
            ("/v3/%4", escapes),
            ("/v3/%4g/a", escapes),
            ("/v3/%%41", escapes),
            ("/v3/%u652f", escapes),
            ("/v3/%/41", escapes),
        ];
        for (template, problem) in table {
            let is_allowed =
                |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/{}".contains(c);
            let found = match template.chars().find(|c| !is_allowed(*c)) {
                _ if template.is_empty() => "is empty".to_owned(),
                Some(c) => format!("found the character {c:?}"),
                None => format!("found {} characters", template.len()),
            };
            let problem = format!("{found}: {problem}");
            refused(&Request::get(template), "path", &problem);
            refused(
                &Request::get(template).path("a", 1).path("b", 1),
                "path",
                &problem,
            );
        }
    }
}

mod query {
    use super::*;

    #[test]
    fn names_and_values_are_percent_encoded_and_read_back_as_given() {
        for (value, encoded) in VALUES {
            let request = Request::get("/v3/a").query(*value, value);
            let target = request.target().unwrap();
            assert_eq!(target, format!("/v3/a?{encoded}={encoded}"));
            let (name, back) = target.split_once('?').unwrap().1.split_once('=').unwrap();
            assert_eq!(
                (decoded(name), decoded(back)),
                (value.to_string(), value.to_string())
            );
        }
    }

    #[test]
    fn order_and_repetitions_are_kept() {
        let request = Request::get("/v3/{p}")
            .query("b", 2)
            .path("p", "x")
            .query("a", "")
            .query("b", 1)
            .query("b", 2);
        assert_eq!(request.target().unwrap(), "/v3/x?b=2&a=&b=1&b=2");
        assert_eq!(request.template(), "/v3/{p}");
    }

    #[test]
    fn dots_and_empty_values_name_no_path_here() {
        let request = Request::get("/")
            .query("a", "..")
            .query("b", "")
            .query("c", ".");
        assert_eq!(request.target().unwrap(), "/?a=..&b=&c=.");
    }
}

mod body {
    use super::*;

    struct Failing;

    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the clock is broken"))
        }
    }

    #[test]
    fn a_body_is_the_json_that_serde_json_writes() {
        let value = json!({"a": ["数", "\u{FFFF}", 1.5, true], "b": "\"\n"});
        let request = Request::post("/v3/a").json(&value);
        assert_eq!(request.target().unwrap(), "/v3/a");
        assert_eq!(request.body().unwrap(), serde_json::to_vec(&value).unwrap());
        assert_eq!(Request::post("/v3/a").body(), None);
        let large = "x".repeat(100_000);
        let request = Request::post("/v3/a").json(large.as_str());
        assert_eq!(request.body().unwrap().len(), 100_002);
    }

    #[test]
    fn a_body_that_cannot_be_written_is_refused() {
        let pairs = BTreeMap::from([((1, 2), 3)]);
        let problem = "cannot be written as JSON: key must be a string";
        refused(&Request::post("/v3/a").json(&pairs), "body", problem);
        let problem = "cannot be written as JSON: the clock is broken";
        refused(&Request::post("/v3/a").json(&Failing), "body", problem);
        refused(
            &Request::post("/v3/a").json(&vec![Failing]),
            "body",
            problem,
        );
        assert_eq!(Request::post("/v3/a").json(&Failing).body(), None);
    }

    #[test]
    fn a_body_with_characters_of_four_bytes_is_refused() {
        let problem = "found a character of four UTF-8 bytes, such as an emoji: wanted characters of one to three bytes";
        for text in ["😀", "a\u{10000}", "\u{10FFFF}"] {
            refused(&Request::post("/v3/a").json(text), "body", problem);
            refused(
                &Request::post("/v3/a").json(&json!({text: 1})),
                "body",
                problem,
            );
        }
        for text in ["\u{FFFF}", "\u{7FF}", "☺", "支付"] {
            let request = Request::post("/v3/a").json(text);
            assert_eq!(request.target().unwrap(), "/v3/a");
        }
    }

    #[test]
    fn a_body_that_cannot_be_written_is_reported_although_another_follows() {
        let request = Request::post("/v3/a").json(&Failing).json("right");
        refused(
            &request,
            "body",
            "cannot be written as JSON: the clock is broken",
        );
    }

    #[test]
    fn a_body_of_a_get_request_is_refused() {
        refused(
            &Request::get("/v3/a").json("b"),
            "body",
            "found a body in a GET request: wanted none, values go to query()",
        );
        for method in [Method::Post, Method::Put, Method::Patch, Method::Delete] {
            let request = Request::new(method, "/v3/a").json("b");
            assert_eq!(request.target().unwrap(), "/v3/a");
        }
    }
}

#[test]
fn methods_have_their_names() {
    let table = [
        (Request::get("/"), Method::Get, "GET"),
        (Request::post("/"), Method::Post, "POST"),
        (Request::put("/"), Method::Put, "PUT"),
        (Request::patch("/"), Method::Patch, "PATCH"),
        (Request::delete("/"), Method::Delete, "DELETE"),
    ];
    for (request, method, name) in table {
        assert_eq!(request.method(), method);
        assert_eq!(method.as_str(), name);
        assert_eq!(method.to_string(), name);
    }
}

#[test]
fn debug_shows_the_template_and_no_values() {
    let request = Request::post("/v3/{a}")
        .path("a", "SECRET")
        .query("b", "SECRET")
        .json("SECRET");
    assert_eq!(
        format!("{request:?}"),
        "Request { method: Post, template: \"/v3/{a}\", .. }"
    );
}

#[test]
fn a_template_may_be_made_at_run_time() {
    let request = Request::get(format!("/v3/{}/{{a}}", "x")).path("a", "y");
    assert_eq!(request.target().unwrap(), "/v3/x/y");
}

#[test]
fn a_problem_is_reported_each_time() {
    let request = Request::get("v3");
    let clone = request.clone();
    let problems: Vec<InvalidField> = [&request, &request, &clone]
        .map(|request| request.target().unwrap_err())
        .into();
    assert_eq!(problems[0], problems[1]);
    assert_eq!(problems[0], problems[2]);
}

/// Fails like some formatters of dates if their pattern is wrong.
struct Undisplayable;

impl fmt::Display for Undisplayable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

#[test]
fn a_value_that_cannot_be_displayed_is_refused() {
    refused(
        &Request::get("/v3/{a}").path("a", Undisplayable),
        "path",
        "found a value that cannot be displayed: wanted one that can",
    );
    refused(
        &Request::get("/v3").query("a", Undisplayable),
        "query",
        "found a value that cannot be displayed: wanted one that can",
    );
}
