//! What Redis answers, and a cluster's nodes together.

use redis::Value;

/// Redis answers with the number of receivers or an entry's id, or with an error.
pub(super) fn refused(replies: &[Value]) -> usize {
    replies.iter().filter(|reply| !matches!(reply, Value::Int(_) | Value::BulkString(_))).count()
}

/// The numbers in a reply, which is a channel's count, one by node, or both nested.
pub(super) fn sum(reply: &Value) -> usize {
    match reply {
        Value::Int(count) => usize::try_from(*count).unwrap_or(0),
        Value::Array(items) => items.iter().map(sum).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| sum(value)).sum(),
        _ => 0,
    }
}

/// The strings in a reply, which is an array, one by node, or both nested.
pub(super) fn strings(reply: &Value) -> Vec<String> {
    match reply {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Map(pairs) => pairs.iter().flat_map(|(_, value)| strings(value)).collect(),
        _ => Vec::new(),
    }
}

/// Of a reply by node, those that are no error.
pub(super) fn answered(reply: &Value) -> usize {
    match reply {
        Value::Map(by_node) => {
            by_node.iter().filter(|(_, answer)| !matches!(answer, Value::ServerError(_))).count()
        }
        _ => 0,
    }
}

/// The masters in the reply to `CLUSTER SLOTS`: ranges, each with its first and last slot, its master, its replicas.
pub(super) fn masters(slots: &Value) -> usize {
    let Value::Array(ranges) = slots else { return 0 };
    let mut masters: Vec<&Value> = Vec::new();
    for range in ranges {
        if let Value::Array(range) = range
            && let Some(master) = range.get(2)
            && !masters.contains(&master)
        {
            masters.push(master);
        }
    }
    masters.len()
}
