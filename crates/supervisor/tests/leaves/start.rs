//! How a process is started, and what is said of one that is not.

use supervisor::process::Ending;

use crate::support::{Stand, port, sh};

#[tokio::test]
async fn it_knows_who_it_is_and_where_to_listen() {
    let stand = Stand::new();
    let process =
        stand.start(sh("echo $PORT $HOST $NODE_APP_INSTANCE $INSTANCE_ID; pwd; read x; echo end >&2")).await;
    assert_eq!(process.ended().await, Ending::Code(0));
    let port = port(&process);
    assert_eq!(stand.lines(3).await, [format!("{port} 127.0.0.1 0 0"), "/".to_owned(), "end".to_owned()]);
    stand.is_empty().await;
}
