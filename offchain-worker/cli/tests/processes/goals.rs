//! Payment by a metric that the final state proves.

use super::home::Home;

#[test]
fn a_goal_decides_what_a_right_result_earns() {
    let home = Home::new();
    home.json(&["--as", "//Alice", "deploy"]);
    // Batch norms of this model use running statistics in an evaluation, those of the batch before.
    let made = home.json(&["task", "new", "examples/pytorch/digits.toml"]);
    assert_eq!(made[0]["test_records"], 360);
    let submit = |goal| {
        let offer = ["--as", "//Bob", "task", "submit", "digits", "--goal", goal];
        home.run(&[&offer[..], &["--reward", "10", "--otherwise", "25%"]].concat())
    };
    let refused = submit("test_f1 >= 0.5");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("test_accuracy"), "{message}");
    for goal in ["test_accuracy >= 90%", "test_loss <= 0"] {
        assert!(submit(goal).status.success(), "{goal}");
    }
    let shown = home.ok(&["task", "show", "1"]);
    assert!(
        shown.contains("goal       test_loss <= 0, or 25% of the price"),
        "{shown}"
    );

    // The task that may pay a quarter only is none for a solver that asks half of its price.
    let picky = ["--min-price", "5", "--top-up", "200", "--once"];
    let picky = home.actions(&[&["--as", "//Dave", "work"], &picky[..]].concat());
    assert!(
        !picky.iter().any(|told| told.starts_with("accepted")),
        "{picky:?}"
    );

    let work = ["--as", "//Charlie", "work", "--top-up", "200", "--once"];
    home.actions(&work);
    home.finds_right(&[]);
    let show = |task| home.ok(&["task", "show", task]);
    assert!(
        show("0").contains("which reaches the goal"),
        "{}",
        show("0")
    );
    assert!(show("1").contains("which misses the goal"), "{}", show("1"));
    let metric = &home.json(&["task", "show", "0"])[0]["attempts"][0]["metric"];
    let score = &home.json(&["result", "evaluate", "--task", "0"])[0];
    let accuracy = score["accuracy"].as_f64().unwrap();
    assert_eq!(metric.as_f64().unwrap() as f32, accuracy as f32);

    home.ok(&["chain", "advance", "3000"]);
    let settled = home.actions(&work);
    for amount in ["withdrew 10000000000000 ", "withdrew 2500000000000 "] {
        let earned = |told: &String| told.starts_with(amount);
        assert!(settled.iter().any(earned), "{amount}: {settled:?}");
    }
    let refund = home.actions(&["--as", "//Bob", "task", "watch", "--once"]);
    let rest = |told: &String| told.starts_with("withdrew 7500000000000 ");
    assert!(refund.iter().any(rest), "{refund:?}");
}
