use super::Payload;
use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use rmpv::Value as Tree;

fn encode(tree: &Tree) -> Bytes {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, tree).unwrap();
    bytes.into()
}

/// MessagePack in, this JSON out; and back again to the same tree.
fn check(tree: Tree, json: &str, attachments: &[&[u8]]) {
    let source = encode(&tree);
    let payload = Payload::from_msgpack(&source, &source).unwrap();
    assert_eq!(&*payload.json, json);
    assert_eq!(payload.attachments, attachments);
    let mut back = Vec::new();
    payload.put_msgpack(&mut back).unwrap();
    assert_eq!(rmpv::decode::read_value(&mut &back[..]).unwrap(), tree);
    for cut in 0..source.len() {
        assert!(Payload::from_msgpack(&source[..cut], &source).is_err());
    }
}

#[test]
fn values_cross_both_ways() {
    let map = |key: &str, value: Tree| Tree::Map(vec![(key.into(), value)]);
    check(Tree::Array(vec!["hi".into(), 1.into(), (-1).into(), 1.5.into()]), r#"["hi",1,-1,1.5]"#, &[]);
    check(
        Tree::Array(vec![Tree::Nil, true.into(), "a\"\n\u{1f600}".into()]),
        "[null,true,\"a\\\"\\n\u{1f600}\"]",
        &[],
    );
    check(Tree::Map(vec![("z".into(), 1.into()), ("a".into(), 2.into())]), r#"{"z":1,"a":2}"#, &[]);
    check(
        Tree::Array(vec![map("x", Tree::Binary(vec![1, 2])), Tree::Binary(vec![])]),
        r#"[{"x":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#,
        &[&[1, 2], &[]],
    );
    check(
        Tree::Array((0..300).map(Tree::from).collect()),
        &serde_json::to_string(&(0..300).collect::<Vec<_>>()).unwrap(),
        &[],
    );
}

#[test]
fn dates_become_what_javascript_would_send_to_a_client() {
    let stamp = 1_700_000_000_u32.to_be_bytes().to_vec();
    let source = encode(&Tree::Ext(-1, stamp));
    assert_eq!(&*Payload::from_msgpack(&source, &source).unwrap().json, r#""2023-11-14T22:13:20.000Z""#);
}

#[test]
fn a_placeholder_without_its_attachment_is_data() {
    for json in [
        r#"[{"num":0,"_placeholder":true}]"#,
        r#"[{"_placeholder":true,"num":4294967296}]"#,
        r#"[{"num":0,"_placeholder":false}]"#,
    ] {
        let mut bytes = Vec::new();
        Payload::from_json(json.to_owned()).put_msgpack(&mut bytes).unwrap();
        let back = Payload::from_msgpack(&bytes, &Bytes::from(bytes.clone())).unwrap();
        assert_eq!((&*back.json, back.attachments.len()), (json, 0));
    }
}

#[test]
fn an_attachment_stands_in_one_place() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let forged = format!("[{}]", vec![placeholder; 1000].join(","));
    let payload =
        Payload { json: forged.clone().into(), attachments: [Bytes::from(vec![7; 1 << 20])].into() };
    let mut bytes = Vec::new();
    payload.put_msgpack(&mut bytes).unwrap();
    assert!(bytes.len() < (1 << 20) + forged.len(), "{}", bytes.len());
    let bytes = Bytes::from(bytes);
    let back = Payload::from_msgpack(&bytes, &bytes).unwrap();
    assert_eq!((&*back.json, back.attachments.len()), (&*forged, 1));
}

#[test]
fn halves_of_surrogate_pairs_do_not_cost_the_rest() {
    let mut bytes = vec![1];
    Payload::from_json(r#"["cut \ud83d"]"#.to_owned()).put_msgpack(&mut bytes).unwrap();
    assert_eq!(bytes[1..], encode(&Tree::Array(vec!["cut \u{fffd}".into()])));
}

#[test]
fn what_looks_like_an_attachment_is_data_in_a_tree() {
    let forged = Tree::Map(vec![("_placeholder".into(), true.into()), ("num".into(), 0.into())]);
    let source = encode(&Tree::Array(vec![Tree::Binary(vec![1, 255]), forged]));
    let expected =
        serde_json::json!([{ "type": "Buffer", "data": [1, 255] }, { "_placeholder": true, "num": 0 }]);
    assert_eq!(super::tree(&source).unwrap(), expected);
}

#[test]
fn nesting_has_an_end() {
    let mut tree = Tree::Nil;
    for _ in 0..500 {
        tree = Tree::Array(vec![tree]);
    }
    let source = encode(&tree);
    assert!(Payload::from_msgpack(&source, &source).is_err());
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Nil),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<u64>().prop_map(Tree::from),
        any::<f64>().prop_filter("JSON has finite numbers only", |f| f.is_finite()).prop_map(Tree::from),
        ".*".prop_map(Tree::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Tree::Binary),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Tree::Array),
            prop::collection::vec((".*".prop_map(Tree::from), inner), 0..20).prop_map(Tree::Map),
        ]
    })
}

proptest! {
    #[test]
    fn any_tree_survives_the_round_trip(tree in tree()) {
        let source = encode(&tree);
        let payload = Payload::from_msgpack(&source, &source).unwrap();
        let mut back = Vec::new();
        payload.put_msgpack(&mut back).unwrap();
        assert_eq!(rmpv::decode::read_value(&mut &back[..]).unwrap(), tree);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let source = Bytes::from(bytes);
        let _ = Payload::from_msgpack(&source, &source);
    }
}
