//! What the compiler may have made of the kernels: a whitelist of float instructions.
//!
//! An instruction that rounds in another way, flushes subnormals, or adds up in an order of its own
//! would change bits on some inputs only, which no test would be sure to meet. So PTX with such an
//! instruction is refused before it runs.

/// The first instruction of `ptx` that is not known to keep the protocol's bits, with its line
/// number from 1.
pub fn offence(ptx: &str) -> Option<(usize, &str)> {
    let mut lines = (1..).zip(ptx.lines().map(str::trim));
    lines.find(|(_, line)| instruction(line).is_some_and(|name| !exact(name)))
}

/// The name of the instruction on a line, if there is one.
fn instruction(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    // A predicate stands before the instruction.
    let name = match first.starts_with('@') {
        true => words.next()?,
        false => first,
    };
    let name = name.trim_end_matches(';');
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    (starts && name.contains('.')).then_some(name)
}

/// Whether an instruction computes no floats, or rounds to nearest and keeps subnormals.
fn exact(name: &str) -> bool {
    let mut parts = name.split('.');
    let operation = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    let has = |part: &str| parts.contains(&part);
    let float = parts.iter().any(|part| {
        matches!(
            *part,
            "f16" | "f16x2" | "bf16" | "bf16x2" | "tf32" | "f32" | "f32x2" | "f64"
        )
    });
    if has("approx") || has("ftz") || has("full") {
        return false;
    }
    if !float {
        return true;
    }
    if !has("f32") || has("f64") {
        return false;
    }
    match operation {
        "ld" | "st" | "mov" | "selp" | "setp" | "set" | "neg" | "abs" => true,
        "add" | "sub" | "mul" | "fma" | "div" | "sqrt" => has("rn") && !has("sat"),
        // From integers to nearest, to integers towards zero.
        "cvt" => matches!(
            parts.as_slice(),
            ["rn", "f32", "s32" | "u32"] | ["rzi", "s32" | "u32", "f32"]
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_that_could_change_a_bit_are_refused() {
        for line in [
            "add.f32 %f1, %f2, %f3;",
            "mul.ftz.f32 %f1, %f2, %f3;",
            "@%p1 add.rn.ftz.f32 %f1, %f2, %f3;",
            "fma.rz.f32 %f1, %f2, %f3, %f4;",
            "mad.f32 %f1, %f2, %f3, %f4;",
            "div.approx.f32 %f1, %f2, %f3;",
            "div.full.f32 %f1, %f2, %f3;",
            "rcp.rn.f32 %f1, %f2;",
            "sqrt.approx.f32 %f1, %f2;",
            "min.f32 %f1, %f2, %f3;",
            "ex2.approx.ftz.f32 %f1, %f2;",
            "atom.global.add.f32 %f1, [%rd1], %f2;",
            "red.global.add.f32 [%rd1], %f2;",
            "cvt.rzi.ftz.s32.f32 %r1, %f1;",
            "cvt.sat.f32.f32 %f1, %f2;",
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1}, {%f2}, {%f3}, {%f4};",
            "add.rn.f64 %fd1, %fd2, %fd3;",
        ] {
            let ptx = format!(".version 8.0\n\t{line}\n");
            assert_eq!(offence(&ptx), Some((2, line)));
        }
    }

    #[test]
    fn exact_instructions_pass() {
        let ptx = "\
            .target sm_90\n\
            .visible .entry lockstep_0(\n\
            .reg .f32 \t%f<9>;\n\
            ld.global.nc.u32 \t%r1, [%rd1];\n\
            mov.b32 \t%f1, %r1;\n\
            @!%p2 bra \t$L__BB0_2;\n\
            add.rn.f32 \t%f2, %f1, %f1;\n\
            fma.rn.f32 \t%f3, %f1, %f1, %f2;\n\
            setp.lt.f32 \t%p1, %f1, %f2;\n\
            cvt.rzi.s32.f32 \t%r2, %f1;\n\
            cvt.rn.f32.u32 \t%f4, %r2;\n\
            mul.wide.u32 \t%rd2, %r1, 4;\n\
            ret;\n";
        assert_eq!(offence(ptx), None);
    }
}
