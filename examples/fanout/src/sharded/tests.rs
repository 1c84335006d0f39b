use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::json;

use super::Sharded;
use crate::{
    message::{Answer, Ask, Flags, Incoming, RemoteSocket, Request, Rooms, Target},
    payload::Payload,
};

fn us() -> Sharded {
    Sharded::new("socket.io", "/chat", "us".to_owned())
}

fn them() -> Sharded {
    Sharded::new("socket.io", "/chat", "them".to_owned())
}

#[test]
fn every_request_arrives_as_it_was_sent_and_not_at_its_sender() {
    let target = Target::room("here").or_room("there").except("muted");
    let text = Payload::from_json(r#"["news",{"z":1,"a":2}]"#.to_owned());
    let binary = Payload {
        json: r#"["news",{"b":{"_placeholder":true,"num":0}}]"#.into(),
        attachments: VecDeque::from([Bytes::from_static(b"\x00\xff")]),
    };
    let flags = Flags { volatile: true, timeout_ms: Some(1500) };
    let broadcast =
        |payload: &Payload| Request::Broadcast { payload: payload.clone(), target: target.clone(), flags };
    let with_ack = |payload: &Payload| Request::BroadcastWithAck {
        payload: payload.clone(),
        target: target.clone(),
        flags,
    };
    let all = [
        broadcast(&text),
        broadcast(&binary),
        with_ack(&text),
        with_ack(&binary),
        Request::Join { target: target.clone(), rooms: vec!["new".to_owned()] },
        Request::Leave { target: target.clone(), rooms: vec!["old".to_owned()] },
        Request::Disconnect { target: target.clone(), close: true },
        Request::Sockets { target: target.clone() },
        Request::ServerSideEmit { arguments: vec![json!("hi"), json!({ "a": [1] })] },
    ];
    for sent in all {
        let id = (!matches!(sent, Request::Broadcast { .. })).then_some("id");
        let outgoing = them().encode(id, &sent).unwrap();
        assert_eq!(outgoing.channel, "socket.io#/chat#");
        let ask = Ask { uid: Some("them".to_owned()), id: id.map(Into::into) };
        assert_eq!(
            us().decode(&outgoing.body.into()),
            Ok(Some(Incoming::Request(ask, sent.clone()))),
            "{sent:?}"
        );
        let echo = us().encode(id, &sent).unwrap();
        assert_eq!(us().decode(&echo.body.into()), Ok(None), "{sent:?}");
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
        Answer::Sockets(vec![socket]),
        Answer::Sockets(vec![]),
        Answer::ServerSideEmit(json!({ "ok": true })),
        Answer::ServerSideEmit(json!(null)),
        Answer::ClientCount(3),
        Answer::ClientAck(Payload::from_json(r#"["first"]"#.to_owned())),
    ];
    let ask = Ask { uid: Some("us".to_owned()), id: Some("id".to_owned()) };
    for sent in all {
        let outgoing = them().encode_answer(&ask, &sent).unwrap();
        assert_eq!(outgoing.channel, "socket.io#/chat#us#");
        let expected = Ok(Some(Incoming::Answer { id: "id".to_owned(), answer: sent.clone() }));
        assert_eq!(us().decode(&outgoing.body.into()), expected, "{sent:?}");
    }
}

#[test]
fn bytes_in_server_side_events_look_as_in_node_js() {
    let arguments = Payload {
        json:
            r#"{"uid":"them","nsp":"/chat","type":9,"data":{"packet":["e",{"_placeholder":true,"num":0}]}}"#
                .into(),
        attachments: VecDeque::from([Bytes::from_static(b"\x01\x02")]),
    };
    let mut body = Vec::new();
    arguments.put_msgpack(&mut body).unwrap();
    let arguments = vec![json!("e"), json!({ "type": "Buffer", "data": [1, 2] })];
    let ask = Ask { uid: Some("them".to_owned()), id: None };
    assert_eq!(
        us().decode(&body.into()),
        Ok(Some(Incoming::Request(ask, Request::ServerSideEmit { arguments })))
    );
}

#[test]
fn other_namespaces_heartbeats_and_garbage_are_ignored() {
    let ignored = [
        r#"{"uid":"them","nsp":"/","type":3,"data":{}}"#,
        r#"{"uid":"them","nsp":"/chat","type":2}"#,
        r#"{"uid":"them","nsp":"/chat","type":13}"#,
    ];
    for body in ignored {
        assert_eq!(us().decode(&Bytes::from_static(body.as_bytes())), Ok(None), "{body}");
    }
    for body in [
        &b""[..],
        b"{",
        b"{}",
        b"\xc1",
        b"\x80",
        br#"{"uid":"t","nsp":"/chat","type":3,"data":{}}"#,
        br#"{"uid":"t","nsp":"/chat","type":9}"#,
    ] {
        assert!(us().decode(&Bytes::from_static(body)).is_err(), "{body:?}");
    }
}

#[test]
fn a_timeout_may_be_text_and_half_an_emoji_costs_nothing() {
    let body = r#"{"uid":"them","nsp":"/chat","type":3,"data":{"packet":{"type":2,"data":["e","\ud83d"],"nsp":"/chat"},
        "opts":{"rooms":["\ud83d"],"except":[],"flags":{"timeout":"1500","volatile":1}}}}"#;
    let Ok(Some(Incoming::Request(_, request))) = us().decode(&Bytes::from_static(body.as_bytes())) else {
        panic!("it is understood")
    };
    let target = Target { rooms: Rooms::In(vec![]), except: vec![] };
    let payload = Payload::from_json(r#"["e","\ufffd"]"#.to_owned());
    let flags = Flags { volatile: true, timeout_ms: Some(1500) };
    assert_eq!(request, Request::Broadcast { payload, target, flags });
}

/// A client that is sent it ends the connection.
#[test]
fn an_event_that_is_no_array_is_malformed() {
    let body = r#"{"uid":"them","nsp":"/chat","type":3,"data":{"packet":{"type":2,"data":"e","nsp":"/chat"},"opts":{"rooms":[],"except":[]}}}"#;
    assert!(us().decode(&Bytes::from_static(body.as_bytes())).is_err());
    let mut bytes = Vec::new();
    Payload::from_json(body.to_owned()).put_msgpack(&mut bytes).unwrap();
    assert!(us().decode(&bytes.into()).is_err());
}
