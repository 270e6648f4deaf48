//! `lockstep report`: the page and the pictures of a task.

use super::home::Home;
use std::io::Cursor;
use std::path::Path;

/// Where the cheat of these tests errs.
const FAULT: &str = "step=137,node=40,element=207,r=28";

/// A home in which a cheat's result was disputed to the end, and the page about it.
fn disputed() -> (Home, String) {
    let home = Home::with_digits();
    home.submit();
    home.json(&["--as", "//Dave", "stake", "deposit", "100"]);
    let cheat = [
        "--as", "//Dave", "work", "--once", "--cheat", "fold", "--fault", FAULT,
    ];
    home.json(&cheat);
    home.convict("0", &cheat);
    // The challenger takes its money and removes the dispute from the chain's state.
    home.json(&["--as", "//Eve", "audit", "--once"]);
    let page = page(&home, &[]);
    (home, page)
}

/// Writes a page about task 0.
fn page(home: &Home, more: &[&str]) -> String {
    let file = home.path().join("report.html");
    let line = ["report", "--task", "0", "-o", file.to_str().unwrap()];
    home.ok(&[&line, more].concat());
    std::fs::read_to_string(file).unwrap()
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).expect(before) + before.len();
    &text[start..start + text[start..].find(after).expect(after)]
}

/// Width, height and how many different colours a PNG file has.
fn decode(file: &Path) -> (u32, u32, usize) {
    let bytes = Cursor::new(std::fs::read(file).unwrap());
    let mut reader = png::Decoder::new(bytes).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let colours: std::collections::BTreeSet<&[u8]> = pixels.chunks_exact(3).collect();
    (info.width, info.height, colours.len())
}

#[test]
fn a_report_follows_a_dispute_down_to_both_values_of_one_scalar_step() {
    let (home, html) = disputed();
    for outside in ["http", "<script", "<link", "<img", "@import"] {
        assert!(!html.contains(outside), "the page refers to {outside}");
    }
    let own = html.matches("url(data:").count();
    assert_eq!(html.matches("url(").count(), own, "its fonts are its own");
    for level in [
        "checkpoint 2",
        "step 137",
        "node 40",
        "element 207",
        "r = 28",
    ] {
        assert!(html.contains(&format!(">{level}<")), "{level}");
    }
    let right = between(&html, "The contract executed the step itself: it is ", ",");
    let claimed = between(&html, "the solver claimed ", ";");
    assert_ne!(right, claimed);
    for value in [right, claimed] {
        assert!(
            html.contains(&format!(">{value}<")),
            "{value} is at its level"
        );
    }
    assert!(
        html.contains("from checkpoint 2 on"),
        "the run differs there"
    );
    assert!(
        html.contains("0.linear.weight"),
        "the program names its state"
    );
    assert!(html.contains("proven wrong"), "the history");

    for name in ["loss", "accuracy", "rate", "time", "program", "dispute-0"] {
        let file = home.path().join(format!("report-{name}.png"));
        let (width, height, colours) = decode(&file);
        assert!(width > 1000 && height > 500 && colours > 10, "{name}");
    }
}

#[test]
fn a_report_of_a_settled_task_has_curves_with_and_without_running_it_again() {
    let home = Home::with_digits();
    home.submit();
    home.json(&["--as", "//Charlie", "work", "--top-up", "100", "--once"]);
    let whole = page(&home, &[]);
    assert!(whole.contains("All 8 checkpoints of attempt 1 are, bit for bit"));
    assert!(whole.contains("Nobody has disputed"));
    let brief = page(&home, &["--replay", "0s"]);
    assert!(brief.contains("Only the published checkpoints were read"));
    assert!(brief.contains("id=\"loss\"") && !brief.contains("id=\"time\""));

    let (code, message) = home.fails(&["report", "--task", "7"]);
    assert_eq!(code, 1);
    assert!(message.contains("there is no task 7"), "{message}");
}
