//! Shapes of tiles, and which one to take.

use super::Machine;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Every thread by itself.
    Scalar,
    /// Tensor cores, 8-bit integers.
    Tensor,
}

/// A shape of tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What multiplies.
    pub unit: Unit,
    /// Rows and columns of a thread, or products of 16 x 8 of a warp down and across.
    pub parts: [u64; 2],
    /// Words of steps that are copied together.
    pub words: u64,
    /// Stages of shared memory.
    pub stages: u64,
    /// Blocks that a multiprocessor is to hold at a time, which bounds a thread's registers.
    pub resident: u64,
    /// How fast it multiplies where it is full, in percent of the first of its unit.
    speed: u64,
}

const fn scalar(parts: [u64; 2], words: u64, resident: u64, speed: u64) -> Shape {
    Shape {
        unit: Unit::Scalar,
        parts,
        words,
        stages: 3,
        resident,
        speed,
    }
}

const fn tensor(parts: [u64; 2], resident: u64, speed: u64) -> Shape {
    Shape {
        unit: Unit::Tensor,
        parts,
        words: 16,
        stages: 4,
        resident,
        speed,
    }
}

/// From the ones with the most work for each operand that is loaded to those with the least waste.
/// The speeds are estimates from how many operands a thread loads for each product.
const SHAPES: [Shape; 9] = [
    scalar([8, 8], 16, 1, 100),
    scalar([8, 4], 16, 2, 90),
    scalar([4, 4], 16, 4, 75),
    scalar([2, 4], 16, 4, 50),
    scalar([2, 2], 16, 4, 35),
    tensor([4, 4], 1, 100),
    tensor([4, 2], 2, 85),
    tensor([2, 2], 3, 65),
    tensor([1, 1], 4, 30),
];

impl Shape {
    /// The shape with which a device is done first, or the one that it asks for.
    pub fn choose(unit: Unit, extents: [u64; 3], machine: Machine) -> &'static Shape {
        let shapes: Vec<&Shape> = SHAPES.iter().filter(|shape| shape.unit == unit).collect();
        match machine.shape {
            Some(number) => shapes[number % shapes.len()],
            None => shapes
                .into_iter()
                .min_by_key(|shape| shape.time(extents, machine))
                .expect("every unit has a shape"),
        }
    }

    /// Rows and columns of a tile.
    fn sides(&self) -> [u64; 2] {
        let [down, across] = self.parts;
        match self.unit {
            Unit::Scalar => [16 * down, 16 * across],
            Unit::Tensor => [32 * down, 32 * across],
        }
    }

    /// Tiles that cover so many rows, columns and batches.
    pub fn tiles(&self, [rows, columns, batches]: [u64; 3]) -> u64 {
        let [down, across] = self.sides();
        rows.div_ceil(down) * columns.div_ceil(across) * batches
    }

    /// What the busiest multiprocessor takes for a step, in some unit.
    fn time(&self, extents: [u64; 3], machine: Machine) -> u64 {
        let [down, across] = self.sides();
        let tiles = self.tiles(extents).div_ceil(machine.multiprocessors);
        tiles * down * across * 1000 / self.speed
    }

    /// Bytes of shared memory, where a row for each lane of an operand is padded.
    pub fn shared(&self, by_step: [bool; 2]) -> u64 {
        let [down, across] = self.sides();
        let words = |lanes: u64, by_step: bool| match by_step {
            true => lanes * (self.words + 4),
            false => lanes * self.words,
        };
        4 * self.stages * (words(down, by_step[0]) + words(across, by_step[1]))
    }

    /// The type of `tile.cuh` or `tensor.cuh` for the contraction of this name.
    pub fn name(&self, contraction: &str) -> String {
        let unit = match self.unit {
            Unit::Scalar => "Scalar",
            Unit::Tensor => "Tensor",
        };
        let ([down, across], words) = (self.parts, self.words);
        format!("{unit}<{contraction}, {down}, {across}, {words}>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_products_take_large_tiles_and_small_ones_fill_the_device() {
        let machine = Machine {
            multiprocessors: 132,
            capability: 90,
            shape: None,
        };
        let parts = |unit, extents| Shape::choose(unit, extents, machine).parts;
        assert_eq!(parts(Unit::Scalar, [8192, 8192, 1]), [8, 8]);
        assert_eq!(parts(Unit::Scalar, [768, 768, 1]), [8, 4]);
        assert_eq!(parts(Unit::Scalar, [10, 64, 1]), [2, 2]);
        assert_eq!(parts(Unit::Tensor, [8192, 8192, 1]), [4, 4]);
        assert_eq!(parts(Unit::Tensor, [64, 64, 1]), [1, 1]);
    }
}
