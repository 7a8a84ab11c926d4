use super::*;
use crate::letter::tests::{from, letter};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

/// A mail server that answers `RCPT TO` with one line, and tells the mail that it was given.
async fn server(answer: &'static str) -> (Post, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut mail = String::new();
        write.write_all(b"220 ready\r\n").await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            let answer = match line.split_whitespace().next().unwrap_or_default() {
                "EHLO" | "MAIL" | "RSET" | "NOOP" => "250 fine",
                "RCPT" => answer,
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await.unwrap();
                    while let Some(line) = lines.next_line().await.unwrap().filter(|it| it != ".") {
                        mail.push_str(&line);
                        mail.push('\n');
                    }
                    "250 taken"
                }
                _ => "221 bye",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            if answer == "250 taken" {
                break;
            }
        }
        mail
    });
    (Post::smtp(&url).unwrap(), served)
}

async fn send(post: &Post) -> Result<(), WorkError> {
    let mail = letter("ada@example.com", "Ada", None).compose(&from()).unwrap();
    post.send("order_cancelled.o-1@shop.example".to_owned(), mail).await
}

#[tokio::test]
async fn a_server_gets_the_mail() {
    let (post, served) = server("250 fine").await;
    send(&post).await.unwrap();
    let mail = served.await.unwrap();
    assert!(mail.contains("Message-ID: <order_cancelled.o-1@shop.example>\n"), "{mail}");
}

#[tokio::test]
async fn a_final_refusal_rejects_without_the_servers_words() {
    let (post, _served) = server("550 no mailbox ada@example.com here").await;
    let Err(WorkError::Rejected(rejection)) = send(&post).await else { panic!("not rejected") };
    assert_eq!(rejection.code(), "mail_refused");
    assert_eq!(rejection.reason(), "the mail server refused the mail with code 550");
}

#[tokio::test]
async fn a_passing_refusal_and_bad_credentials_are_tried_again() {
    for (answer, code) in [("450 greylisted ada@example.com", "450"), ("530 log in first", "530")] {
        let (post, _served) = server(answer).await;
        let Err(WorkError::Failed(why)) = send(&post).await else { panic!("not failed") };
        assert_eq!(why, format!("the mail server answered with code {code}"));
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    drop(listener);
    let failed = send(&Post::smtp(&url).unwrap()).await;
    assert_eq!(failed, Err(WorkError::Failed("the mail server cannot be reached".to_owned())));
}
