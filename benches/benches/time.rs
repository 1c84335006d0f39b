//! How long the steps of a request take, by criterion: `cargo bench --bench time`.

use benches::{Size, cases};
use criterion::{Criterion, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    for case in cases() {
        let mut step = None;
        criterion.bench_function(case.name, |bencher| {
            // Only when it is not filtered out: a million sessions take a while.
            let step = step.get_or_insert_with(|| (case.prepare)(Size::Large));
            bencher.iter(&mut *step);
        });
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
