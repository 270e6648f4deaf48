//! The page.

use super::draw::{Ink, Weight, PAPER};
use super::{Picture, Report, Told};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use maud::{html, Markup, PreEscaped, DOCTYPE};

/// What holds for every dispute.
const DISPUTES: &str =
    "The solver's values and the selections are those of the chain's events. The \
challenger's own values never reach the chain: what stands beside the solver's was computed again \
here, from the state on which both agree. Events have neither the weight of a move nor the move \
that ends a dispute; only whoever follows it live sees them. Green entries are agreed.";

/// The whole page. Every text in it is escaped.
pub fn page(report: &Report) -> Markup {
    let title = format!("Lockstep task {}", report.task);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(style())) }
            }
            body {
                header {
                    h1 { (title) " " span.badge { (report.status) } }
                }
                (facts(report))
                section {
                    h2 { "Training" }
                    @for line in &report.basis { p.note { (line) } }
                    @for picture in &report.curves { (figure(picture)) }
                }
                section {
                    h2 { "Disputes" }
                    @if report.disputes.is_empty() { p.note { "Nobody has disputed a result." } }
                    @else { p.note { (DISPUTES) } }
                    @for told in &report.disputes { (dispute(told)) }
                }
                section {
                    h2 { "Program" }
                    (figure(&report.program))
                }
                section {
                    h2 { "History" }
                    (table(&["time", "block", "event"], &report.history))
                    @if let Some(gap) = &report.gap {
                        p.note { "The chain did not tell " (gap) }
                    }
                }
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    html! {
        section {
            dl {
                @for (name, value) in &report.facts { dt { (name) } dd { (value) } }
            }
            details {
                summary { "Hashes (BLAKE3)" }
                dl {
                    @for (name, value) in &report.hashes { dt { (name) } dd { code { (value) } } }
                }
            }
            @if !report.attempts.is_empty() {
                h2 { "Attempts" }
                (table(&["attempt", "solver", "status", "checkpoint trace"], &report.attempts))
            }
        }
    }
}

fn dispute(told: &Told) -> Markup {
    html! {
        @match &told.picture {
            Some(picture) => (figure(picture)),
            None => p { (told.heading) }
        }
        @for note in &told.notes { p.note { (note) } }
        @if !told.moves.is_empty() {
            details {
                summary { "The moves in the chain's events: " (told.moves.len()) }
                (table(&["move", "by", "what", "bytes"], &told.moves))
            }
        }
    }
}

fn figure(picture: &Picture) -> Markup {
    html! { figure id=(picture.name) { (picture.scene.svg()) } }
}

fn table<const N: usize>(heads: &[&str; N], rows: &[[String; N]]) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { @for head in heads { th { (head) } } } }
                tbody {
                    @for row in rows { tr { @for cell in row { td { (cell) } } } }
                }
            }
        }
    }
}

fn style() -> String {
    let variables = |theme: usize| {
        let ink = |ink: Ink| format!("--{}:#{:06x};", ink.name(), ink.colours()[theme]);
        let inks: String = Ink::ALL.into_iter().map(ink).collect();
        format!("--paper:#{:06x};{inks}", PAPER[theme])
    };
    let face = |(weight, name): (Weight, u32)| {
        let file = STANDARD.encode(weight.file());
        format!(
            "@font-face{{font-family:Pictures;font-weight:{name};\
             src:url(data:font/ttf;base64,{file})}}"
        )
    };
    // Pictures are laid out for this font, whatever the reader's machine has.
    let fonts: String = [(Weight::Regular, 400), (Weight::Medium, 500)]
        .map(face)
        .concat();
    format!(
        "{fonts}:root{{{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}{RULES}",
        variables(0),
        variables(1)
    )
}

const RULES: &str = "
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:980px;background:var(--paper);color:var(--text);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.9rem;font-weight:600;margin:0 0 1rem}
h2{font-size:1.25rem;font-weight:600;margin:2.4rem 0 .6rem;padding-bottom:.3rem;border-bottom:1px solid var(--grid)}
.badge{font-size:.9rem;font-weight:500;vertical-align:.35rem;margin-left:.4rem;padding:.15rem .6rem;border-radius:1rem;
background:var(--panel);border:1px solid var(--grid);color:var(--first)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:0 0 1rem}
dt{color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}
.note{color:var(--faint);margin:.3rem 0}
figure{margin:1.2rem 0;overflow-x:auto}
svg{display:block;max-width:100%;height:auto;font-family:Pictures,sans-serif}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--grid);
overflow-wrap:anywhere}
th{color:var(--faint);font-weight:500;white-space:nowrap}
td:first-child{white-space:nowrap}
summary{cursor:pointer;color:var(--faint);margin:.6rem 0}
code{font-size:.85rem}
";
