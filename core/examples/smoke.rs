use std::time::Instant;
use unspoken::device::*;
use unspoken::model::*;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let threads = std::env::args().nth(2).and_then(|t| t.parse().ok());
    let d = Device::open(DeviceChoice::Cpu, threads).unwrap();
    let t = Instant::now();
    let m = Model::open(path.as_ref(), &d).unwrap();
    println!("load {:?} {} MB {}", t.elapsed(), m.weight_bytes() / 1000000, d.name());
    let mut c = Context::new(&m, ContextParams::default()).unwrap();
    let s = c.cache.create();
    let toks: Vec<u32> = (0..128u32).map(|i| 1000 + i * 37 % 5000).collect();
    for _ in 0..3 {
        c.cache.truncate(s, 0);
        let t = Instant::now();
        c.forward(&[Span { seq: s, tokens: &toks, adapter: None }]).unwrap();
        println!("prefill {:.1} t/s", 128.0 / t.elapsed().as_secs_f64());
    }
    let mut last = 5u32;
    let t = Instant::now();
    for _ in 0..64 {
        c.forward(&[Span { seq: s, tokens: &[last], adapter: None }]).unwrap();
        let l = c.logits(&[0]).unwrap();
        last = l.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32;
    }
    println!("decode {:.1} t/s", 64.0 / t.elapsed().as_secs_f64());
    let a = Adapter::new(&m, 16, 32.0, 1).unwrap();
    let grads = d.alloc(a.shape.words).unwrap();
    for n in [128usize, 256, 512] {
        let toks: Vec<u32> = (0..n as u32).map(|i| 1000 + i * 37 % 5000).collect();
        let mut c = Context::new(&m, ContextParams { cache_tokens: 512, block_size: 1, ..Default::default() }).unwrap();
        for _ in 0..2 {
            let s = c.cache.create();
            let t = Instant::now();
            c.forward_kept(&[Span { seq: s, tokens: &toks, adapter: Some(&a) }]).unwrap();
            let t1 = t.elapsed();
            let rows: Vec<u32> = (0..n as u32 - 1).collect();
            let lp = c.log_probs(&rows, &toks[1..]).unwrap();
            let t2 = t.elapsed();
            c.backward(&vec![-1.0 / n as f32; rows.len()], &grads).unwrap();
            let t3 = t.elapsed();
            c.cache.remove(s);
            println!(
                "train {n}: {:.1} t/s  fwd {t1:?} head {t2:?} all {t3:?} loss {}",
                n as f64 / t3.as_secs_f64(),
                -lp.iter().sum::<f32>() / n as f32
            );
        }
    }
}
