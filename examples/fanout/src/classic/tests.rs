use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::json;

use super::Classic;
use crate::{
    error::Malformed,
    message::{Answer, Ask, Flags, Incoming, RemoteSocket, Request, Rooms, Target},
    payload::Payload,
};

fn us() -> Classic {
    Classic::new("socket.io", "/chat", "us".to_owned())
}

fn them() -> Classic {
    Classic::new("socket.io", "/chat", "them".to_owned())
}

fn msgpack(json: &serde_json::Value) -> Bytes {
    let mut out = Vec::new();
    Payload::from_json(json.to_string()).put_msgpack(&mut out).unwrap();
    out.into()
}

fn decode(channel: &str, body: impl Into<Bytes>) -> Result<Option<Incoming>, Malformed> {
    us().decode(channel, &body.into(), |room| room == "here")
}

fn request(ask: (Option<&str>, Option<&str>), request: Request) -> Result<Option<Incoming>, Malformed> {
    let ask = Ask { uid: ask.0.map(Into::into), id: ask.1.map(Into::into) };
    Ok(Some(Incoming::Request(ask, request)))
}

#[test]
fn every_request_arrives_as_it_was_sent_and_not_at_its_sender() {
    let target = Target::room("here").or_room("there").except("muted");
    let payload = Payload {
        json: r#"["news",{"b":{"_placeholder":true,"num":0}}]"#.into(),
        attachments: VecDeque::from([Bytes::from_static(b"\x00\xff")]),
    };
    let flags = Flags { volatile: true, timeout_ms: Some(1500) };
    let all = [
        Request::Broadcast { payload: payload.clone(), target: target.clone(), flags },
        Request::BroadcastWithAck { payload, target: target.clone(), flags },
        Request::Join { target: target.clone(), rooms: vec!["new".to_owned()] },
        Request::Leave { target: target.clone(), rooms: vec!["old".to_owned()] },
        Request::Disconnect { target: target.clone(), close: true },
        Request::SocketIds { target: Target::room("here") },
        Request::Rooms,
        Request::Sockets { target },
        Request::ServerSideEmit { arguments: vec![json!("hi"), json!({ "a": [1] })] },
    ];
    for sent in all {
        let is_plain_broadcast = matches!(sent, Request::Broadcast { .. });
        let id = (!is_plain_broadcast).then_some("id");
        let outgoing = them().encode(id, &sent).unwrap();
        assert_eq!(
            decode(&outgoing.channel, outgoing.body),
            request((Some("them"), id), sent.clone()),
            "{sent:?}"
        );
        let echo = us().encode(id, &sent).unwrap();
        assert_eq!(decode(&echo.channel, echo.body), Ok(None), "{sent:?}");
    }
}

#[test]
fn every_answer_arrives_as_it_was_sent() {
    let socket = RemoteSocket {
        id: "x".repeat(20),
        handshake: json!({}),
        rooms: vec!["r".to_owned()],
        data: json!(1),
    };
    let all = [
        Answer::Done,
        Answer::SocketIds(vec!["a".to_owned()]),
        Answer::Rooms(vec!["r".to_owned()]),
        Answer::Rooms(vec![]),
        Answer::Sockets(vec![socket]),
        Answer::Sockets(vec![]),
        Answer::ServerSideEmit(json!({ "ok": true })),
        Answer::ClientCount(3),
        Answer::ClientAck(Payload::from_json(r#"["first"]"#.to_owned())),
    ];
    let ask = Ask { uid: Some("us".to_owned()), id: Some("id".to_owned()) };
    for sent in all {
        let outgoing = them().encode_answer(&ask, &sent).unwrap();
        let expected = Ok(Some(Incoming::Answer { id: "id".to_owned(), answer: sent.clone() }));
        assert_eq!(decode(&outgoing.channel, outgoing.body), expected, "{sent:?}");
    }
}

#[test]
fn answers_go_to_the_asker_alone_where_it_can_be_told() {
    let to = |uid: Option<&str>, answer| {
        let ask = Ask { uid: uid.map(Into::into), id: Some("id".to_owned()) };
        us().encode_answer(&ask, &answer).unwrap().channel
    };
    assert_eq!(to(Some("them"), Answer::ClientCount(1)), "socket.io-response#/chat#them#");
    assert_eq!(to(None, Answer::ClientCount(1)), "socket.io-response#/chat#");
    assert_eq!(to(Some("them"), Answer::ServerSideEmit(json!(1))), "socket.io-response#/chat#");
}

#[test]
fn broadcasts_for_others_are_not_decoded() {
    let body = msgpack(
        &json!(["them", { "type": 2, "data": ["e"], "nsp": "/chat" }, { "rooms": ["here"], "except": [], "flags": {} }]),
    );
    assert!(matches!(decode("socket.io#/chat#", body.clone()), Ok(Some(_))));
    assert!(matches!(decode("socket.io#/chat#here#", body.clone()), Ok(Some(_))));
    assert_eq!(decode("socket.io#/chat#elsewhere#", body), Ok(None));
    // It is not even looked at.
    assert_eq!(decode("socket.io#/chat#elsewhere#", &b"\xc1"[..]), Ok(None));
    // A namespace's name may begin with another's.
    let other = msgpack(&json!(["them", { "type": 2, "data": ["e"], "nsp": "/chat#b" }, { "rooms": [] }]));
    assert_eq!(decode("socket.io#/chat#", other), Ok(None));
    let main = msgpack(&json!(["emitter", { "type": 2, "data": ["e"] }, { "rooms": [], "except": [] }]));
    assert_eq!(decode("socket.io#/chat#", main.clone()), Ok(None));
    let root = Classic::new("socket.io", "/", "us".to_owned());
    assert!(
        matches!(root.decode("socket.io#/#", &main, |_| true), Ok(Some(_))),
        "no nsp is the main namespace"
    );
}

#[test]
fn a_room_is_in_the_channel_if_there_is_exactly_one() {
    let channel = |target| {
        let payload = Payload::from_json("[\"e\"]".to_owned());
        us().encode(None, &Request::Broadcast { payload, target, flags: Flags::default() }).unwrap().channel
    };
    assert_eq!(channel(Target::everyone()), "socket.io#/chat#");
    assert_eq!(channel(Target::room("a")), "socket.io#/chat#a#");
    assert_eq!(channel(Target::room("a").or_room("b")), "socket.io#/chat#");
}

#[test]
fn adapters_before_6_name_one_socket() {
    let ask = (None, Some("id"));
    let old = |fields: &str| decode("socket.io-request#/chat#", format!(r#"{{"requestId":"id",{fields}}}"#));
    let rooms = vec!["r".to_owned()];
    assert_eq!(
        old(r#""type":2,"sid":"s","room":"r""#),
        request(ask, Request::Join { target: Target::room("s"), rooms: rooms.clone() })
    );
    assert_eq!(
        old(r#""type":3,"sid":"s","room":"r""#),
        request(ask, Request::Leave { target: Target::room("s"), rooms })
    );
    assert_eq!(
        old(r#""type":4,"sid":"s","close":true"#),
        request(ask, Request::Disconnect { target: Target::room("s"), close: true })
    );
    // Naming nobody must not mean everybody.
    assert_eq!(old(r#""type":4,"close":true"#), Ok(None));
    assert_eq!(old(r#""type":99"#), Ok(None));
}

#[test]
fn numeric_rooms_and_missing_fields_are_read() {
    let emitter = decode(
        "socket.io-request#/chat#",
        r#"{"type":2,"opts":{"rooms":[1,"a"],"except":[2.5]},"rooms":[7]}"#,
    );
    let target = Target::room("1").or_room("a").except("2.5");
    assert_eq!(emitter, request((None, None), Request::Join { target, rooms: vec!["7".to_owned()] }));
}

#[test]
fn globs_in_a_namespace_are_escaped() {
    assert_eq!(us().pattern(), "socket.io#/chat#*");
    assert_eq!(Classic::new("p", "/a*[b]?\\", "us".to_owned()).pattern(), r"p#/a\*\[b\]\?\\#*");
}

#[test]
fn garbage_is_malformed_and_no_more() {
    for channel in [
        "socket.io#/chat#",
        "socket.io-request#/chat#",
        "socket.io-response#/chat#",
        "socket.io-response#/chat#us#",
    ] {
        for body in
            [&b""[..], b"{", b"{}", b"\xc1", b"\x80", b"\x93\xa1x\x80\x80", b"[1,2]", b"\xdd\xff\xff\xff\xff"]
        {
            assert!(!matches!(decode(channel, body), Ok(Some(_))), "{channel} {body:?}");
        }
    }
}

/// As node.js writes them: half an emoji in a name, in data, in an answer.
#[test]
fn halves_of_surrogate_pairs_do_not_cost_the_message() {
    let requests = "socket.io-request#/chat#";
    let nobody = Target { rooms: Rooms::In(vec![]), except: vec![] };
    let fetch = r#"{"uid":"them","requestId":"id","type":5,"opts":{"rooms":["\ud83d"],"except":["\ud83d"]}}"#;
    assert_eq!(
        decode(requests, fetch),
        request((Some("them"), Some("id")), Request::Sockets { target: nobody })
    );
    let emit = r#"{"uid":"them","type":6,"data":["e","cut \ud83d"]}"#;
    let arguments = vec![json!("e"), json!("cut \u{fffd}")];
    assert_eq!(decode(requests, emit), request((Some("them"), None), Request::ServerSideEmit { arguments }));
    let join = r#"{"uid":"them","type":2,"opts":{"rooms":["here"],"except":[]},"rooms":["\udc00","there"]}"#;
    let join_there = Request::Join { target: Target::room("here"), rooms: vec!["there".to_owned()] };
    assert_eq!(decode(requests, join), request((Some("them"), None), join_there));
    let answer = r#"{"requestId":"id","sockets":[{"id":"x","rooms":[],"data":"\ud83d"}]}"#;
    let socket =
        RemoteSocket { id: "x".to_owned(), handshake: json!(null), rooms: vec![], data: json!("\u{fffd}") };
    let expected = Incoming::Answer { id: "id".to_owned(), answer: Answer::Sockets(vec![socket]) };
    assert_eq!(decode("socket.io-response#/chat#us#", answer), Ok(Some(expected)));
}

#[test]
fn a_disconnect_closes_by_what_javascript_takes_for_true() {
    for (close, expected) in
        [("true", true), ("1", true), ("\"\"", false), ("null", false), ("0", false), ("{}", true)]
    {
        let body = format!(r#"{{"uid":"them","type":4,"opts":{{"rooms":[],"except":[]}},"close":{close}}}"#);
        let disconnect = Request::Disconnect { target: Target::everyone(), close: expected };
        assert_eq!(decode("socket.io-request#/chat#", body), request((Some("them"), None), disconnect));
    }
}
