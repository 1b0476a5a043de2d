use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Number};

use super::*;

/// Reads a whole text into serde's value, by this reader alone.
fn read(text: &str) -> Result<serde_json::Value, Fault> {
    let arena = Bump::new();
    let mut json = Json::new(text, &arena);
    let value = tree(&mut json)?;
    json.end()?;
    Ok(value)
}

fn tree(json: &mut Json<'_>) -> Result<serde_json::Value, Fault> {
    Ok(match json.kind() {
        Kind::Object => {
            let mut members = Map::new();
            json.object(|json, name| {
                members.insert(name.to_owned(), tree(json)?);
                Ok::<_, Fault>(())
            })?;
            members.into()
        }
        Kind::Array => {
            let mut items = Vec::new();
            json.array(|json| {
                items.push(tree(json)?);
                Ok::<_, Fault>(())
            })?;
            items.into()
        }
        Kind::Scalar => match json.value()? {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => flag.into(),
            Value::Text(text) => text.into(),
            // serde has no number beyond the doubles; whether it is written like one is what counts here.
            Value::Number(number) => number.parse::<Number>().map_or(serde_json::Value::Null, Into::into),
            container => unreachable!("{container:?} is no scalar"),
        },
    })
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn the_deepest_nesting_is_read_and_one_more_is_refused() {
    for inner in ["", "1", "{}", "[]"] {
        let depth = if inner.len() == 2 { DEPTH_MAX - 1 } else { DEPTH_MAX };
        let deepest = nested(depth).replacen("[]", &format!("[{inner}]"), 1);
        assert!(read(&deepest).is_ok(), "{deepest}");
        let deeper = format!("[{deepest}]");
        assert_eq!(read(&deeper).unwrap_err().what, Wrong::Deep, "{deeper}");
        // As a value that is only skipped, too.
        let arena = Bump::new();
        assert_eq!(Json::new(&deeper, &arena).value().unwrap_err().what, Wrong::Deep, "{deeper}");
    }
    let wide = format!("[{}]", vec!["[[]]"; 100].join(","));
    assert!(read(&wide).is_ok(), "depth is not the number of containers");
}

#[test]
fn values_are_handed_out_as_they_stand() {
    let arena = Bump::new();
    let mut json = Json::new(r#" [ {"a" : [1, 2]} , -1.50E+2 ,"x\u00e9\n\ud83d\ude00", [ ] ]"#, &arena);
    let mut values = Vec::new();
    json.array(|json| {
        values.push(json.value()?);
        Ok::<_, Fault>(())
    })
    .unwrap();
    let expected =
        [Value::Object(r#"{"a" : [1, 2]}"#), Value::Number("-1.50E+2"), Value::Text("xé\n😀"), Value::Array("[ ]")];
    assert_eq!(values, expected);
}

#[test]
fn half_a_surrogate_pair_reads_as_the_replacement_character() {
    for (sent, expected) in
        [(r#""\ud800""#, "\u{fffd}"), (r#""\udc00a""#, "\u{fffd}a"), (r#""\ud800\u0041""#, "\u{fffd}A")]
    {
        assert_eq!(read(sent).unwrap(), expected, "{sent}");
    }
}

#[test]
fn a_fault_knows_its_line_and_column() {
    let text = "{\"a\": \"é\",\n  \"b\": [}";
    let fault = read(text).unwrap_err();
    assert_eq!((fault.what, place(text, fault.at)), (Wrong::Expected("a value"), (2, 9)));
    assert_eq!(place("é x", 3), (1, 3));
    assert_eq!(place("", 0), (1, 1));
}

#[test]
fn what_is_no_json_is_refused_where_serde_refuses_it() {
    let wrong = [
        "",
        " ",
        "{",
        "}",
        "[",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "nulll",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123",
        "\"\n\"",
        "[1 2]",
        "1 2",
        "'a'",
        "NaN",
        "Infinity",
        "[]]",
        "{\"a\":}",
        "{,}",
        "[,]",
        "\u{feff}{}",
        "{]",
        "[}",
    ];
    for text in wrong {
        assert!(read(text).is_err(), "{text:?} was read");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?}: serde reads it");
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members: BTreeMap<_, _>| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_reads_as_serde_reads_it(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let read = read(&text).map_err(|fault| TestCaseError::fail(format!("{fault:?} in {text}")))?;
        prop_assert_eq!(read, serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }

    #[test]
    fn a_text_with_one_byte_changed_is_judged_as_serde_judges_it(value in any_json(), at: prop::sample::Index, to in "[ -~]") {
        let mut text = serde_json::to_string(&value).unwrap();
        let at = at.index(text.len());
        prop_assume!(text.is_char_boundary(at) && text.is_char_boundary(at + 1));
        text.replace_range(at..at + 1, &to);
        let serde = serde_json::from_str::<&serde_json::value::RawValue>(&text);
        prop_assert_eq!(read(&text).is_ok(), serde.is_ok(), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text: String, json in "[\\[\\]{}:,\"\\\\u0-9a-f \n.eE+-]{0,40}") {
        let _ = read(&text);
        let _ = read(&json).map_err(|fault| place(&json, fault.at));
    }
}
