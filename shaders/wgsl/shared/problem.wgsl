// One of the products of a dispatch: its sizes, and where its matrices begin.
struct Problem {
    m: u32,
    n: u32,
    k: u32,
    a: u32,
    b: u32,
    c: u32,
}

fn problem(i: u32) -> Problem {
    switch i {
        case 0u: {
            return Problem(p.m, p.n, p.k, p.a_offset, p.b_offset, p.c_offset);
        }
        case 1u: {
            return Problem(p.m1, p.n1, p.k1, p.a1, p.b1, p.c1);
        }
        default: {
            return Problem(p.m2, p.n2, p.k2, p.a2, p.b2, p.c2);
        }
    }
}

fn store(own: Problem, m: u32, n: u32, sum: f32) {
    let to = own.c + m * p.c_row + n;
    if p.accumulate != 0u {
        c[to] += p.alpha * sum;
    } else {
        c[to] = p.alpha * sum;
    }
}
