//! Whole networks from the reference checkpoints: values, gradients, tangents.

mod common;

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use common::{Golden, assert_close, device, folder, max_difference, relative_l2, values};
use stylegan2_burn::checkpoint::to_dtype;
use stylegan2_burn::image::{Rounding, to_pixels};
use stylegan2_burn::{
    Checkpoint, Discriminator, Generator, Modulation, Noise, SynthesisOptions, Truncation,
};

const NETS: [&str; 3] = ["uncond32", "cond32", "gray16_resnetG_skipD"];

struct Case {
    io: Golden,
    g: Generator,
    d: Discriminator,
    name: &'static str,
}

impl Case {
    fn open(name: &'static str) -> Self {
        let file = Checkpoint::open(folder().join(format!("official_{name}.pkl"))).unwrap();
        Self {
            io: Golden::open(&format!("official_{name}_io.safetensors")),
            g: file.generator("G_ema", &device()).unwrap(),
            d: file.discriminator("D", &device()).unwrap(),
            name,
        }
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.io.tensor(name, &device())
    }

    fn label(&self, name: &str) -> Option<Tensor<2>> {
        self.io.has(name).then(|| self.tensor(name))
    }

    fn real(&self) -> Tensor<4> {
        self.tensor::<4>("real_u8") * (1.0 / 127.5) - 1.0
    }

    fn check<const D: usize>(&self, what: &str, tensor: Tensor<D>, bound: f64) {
        let golden = self.io.values(what);
        assert_close(&format!("{} {what}", self.name), tensor, golden, bound);
    }
}

fn options(modulation: Modulation) -> SynthesisOptions {
    SynthesisOptions {
        modulation,
        ..Default::default()
    }
}

#[test]
fn mapping_and_truncation() {
    for case in NETS.map(Case::open) {
        let ws = |t| case.g.mapping.forward(case.tensor("z"), case.label("c"), t);
        case.check("ws", ws(Truncation::default()), 1e-5);
        case.check("ws_psi0.7", ws(Truncation::psi(0.7)), 1e-5);
        case.check(
            "ws_psi0.5_cut3",
            ws(Truncation {
                psi: 0.5,
                cutoff: Some(3),
            }),
            1e-5,
        );
    }
}

#[test]
fn images() {
    for case in NETS.map(Case::open) {
        for modulation in [Modulation::Auto, Modulation::Fused, Modulation::Unfused] {
            let image = |ws: &str, options| case.g.synthesis.forward(case.tensor(ws), &options);
            let base = options(modulation);
            case.check("img_const", image("ws", base.clone()), 1e-4);
            case.check("img_const_psi0.7", image("ws_psi0.7", base.clone()), 1e-4);
            case.check("img_wplus", image("ws_plus", base.clone()), 1e-4);
            let none = SynthesisOptions {
                noise: Noise::None,
                ..base.clone()
            };
            case.check("img_none", image("ws", none), 1e-4);
            let draws = case.g.synthesis.noise_shapes();
            let draws = draws
                .iter()
                .map(|(n, _)| case.tensor(&format!("noise_random.{n}")));
            let given = SynthesisOptions {
                noise: Noise::Given(draws.collect()),
                ..base
            };
            case.check("img_random", image("ws", given), 1e-4);
        }
    }
}

#[test]
fn images_are_closer_to_double_precision_than_a_hundred_thousandth() {
    for case in NETS.map(Case::open) {
        let image = case
            .g
            .synthesis
            .forward(case.tensor("ws"), &SynthesisOptions::default());
        let truth = case.io.values("f64.img_const");
        let size = truth.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        assert_close(case.name, image, truth, 2e-5 * size);
    }
}

#[test]
fn bytes_differ_by_at_most_one_level() {
    for case in NETS.map(Case::open) {
        let image = case
            .g
            .synthesis
            .forward(case.tensor("ws"), &SynthesisOptions::default());
        let bytes: Vec<f64> = to_pixels(image, Rounding::Generate)
            .into_iter()
            .flat_map(|p| p.data)
            .map(f64::from)
            .collect();
        assert!(
            max_difference(&bytes, case.io.values("img_u8")) <= 1.0,
            "{}",
            case.name
        );
    }
}

#[test]
fn a_single_image_equals_its_place_in_the_batch() {
    for case in NETS.map(Case::open) {
        let z = case.tensor::<2>("z").slice_dim(0, 2..3);
        let c = case.label("c").map(|c| c.slice_dim(0, 2..3));
        let image = case
            .g
            .forward(z, c, Truncation::default(), &SynthesisOptions::default());
        let golden = case.io.values("img_const");
        let size = golden.len() / 4;
        assert_close(case.name, image, &golden[2 * size..3 * size], 1e-4);
    }
}

#[test]
fn intermediate_features_and_style_space() {
    for case in NETS.map(Case::open) {
        let ws = case.tensor::<3>("ws");
        let options = SynthesisOptions::default();
        let features = case.g.synthesis.features(ws.clone(), &options);
        for block in &features {
            let x = format!("trace.G.b{}.x", block.resolution);
            let image = format!("trace.G.b{}.img", block.resolution);
            if case.io.has(&x) {
                case.check(&x, block.features.clone(), 1e-4);
            }
            if case.io.has(&image) {
                case.check(&image, block.image.clone().unwrap(), 1e-4);
            }
        }
        let styles = case.g.synthesis.styles(ws);
        let layers = case.g.synthesis.style_layers();
        assert_eq!(styles.len(), layers.len());
        for (s, l) in styles.iter().zip(&layers) {
            assert_eq!(s.dims()[1], l.channels, "{}", l.name);
        }
        assert_eq!(layers.last().unwrap().row, case.g.synthesis.num_ws() - 1);
        case.check(
            "img_const",
            case.g.synthesis.forward_styles(styles, &options),
            1e-4,
        );
    }
}

#[test]
fn logits() {
    for case in NETS.map(Case::open) {
        let real = case.real();
        let c = case.label("c");
        let relative = |what: &str, logits: Tensor<2>| {
            let error = relative_l2(&values(logits), case.io.values(what));
            assert!(error < 1e-5, "{} {what}: {error:e}", case.name);
        };
        let first = |n: usize| real.clone().slice_dim(0, 0..n);
        relative(
            "logits_real8",
            case.d.forward(real.clone(), case.label("c8")),
        );
        let c8 = case.label("c8");
        let labels = |n: usize| c8.clone().map(|c| c.slice_dim(0, 0..n));
        relative("logits_real_first4", case.d.forward(first(4), labels(4)));
        relative("logits_real_b1", case.d.forward(first(1), labels(1)));
        relative("logits_fake", case.d.forward(case.tensor("img_const"), c));
    }
}

#[test]
fn tangents_are_central_differences_in_double_precision() {
    let dtype = DType::F64;
    for case in NETS.map(Case::open) {
        let g = to_dtype(case.g.clone(), dtype);
        let d = to_dtype(case.d.clone(), dtype);
        let device = device();
        let ws: Tensor<3> = case.io.tensor_as("ws", &device, dtype);
        let dw = ws.clone().sin() * 3.0;
        // Small enough that hardly any activation crosses zero on the way.
        let h = 1e-9;
        for modulation in [Modulation::Fused, Modulation::Unfused] {
            let options = options(modulation);
            let image = |ws| values(g.synthesis.forward(ws, &options));
            let (_, tangent) = g.synthesis.jvp(ws.clone(), dw.clone(), &options);
            let plus = image(ws.clone() + dw.clone() * h);
            let minus = image(ws.clone() - dw.clone() * h);
            let difference: Vec<f64> = plus
                .iter()
                .zip(&minus)
                .map(|(p, m)| (p - m) / (2.0 * h))
                .collect();
            // Clamping makes kinks: a difference quotient across one is off by its share.
            let bound = if case.name == "cond32" { 1e-3 } else { 2e-6 };
            let error = relative_l2(&values(tangent), &difference);
            assert!(
                error < bound,
                "{} image {modulation:?}: {error:e}",
                case.name
            );
        }
        let real = case.real().cast(dtype);
        let v = real.clone().cos();
        let c = case
            .io
            .has("c8")
            .then(|| case.io.tensor_as("c8", &device, dtype));
        let (_, tangent) = d.jvp(real.clone(), v.clone(), c.clone());
        let logits = |x| values(d.forward(x, c.clone()));
        let plus = logits(real.clone() + v.clone() * h);
        let minus = logits(real - v * h);
        let difference: Vec<f64> = plus
            .iter()
            .zip(&minus)
            .map(|(p, m)| (p - m) / (2.0 * h))
            .collect();
        let error = relative_l2(&values(tangent), &difference);
        assert!(error < 1e-5, "{} logits: {error:e}", case.name);
    }
}

/// The bound on a parameter's gradient, as relative L2 difference.
fn bound(name: &str) -> f64 {
    // conv_clamp = 2 puts kinks everywhere; the reference itself differs from its double
    // precision by up to 1.4e-3 there.
    if name == "cond32" { 5e-3 } else { 2e-4 }
}

fn compare_gradients(name: &str, tag: &str, loss: &Golden, got: &[(String, Vec<f64>)]) {
    assert!(!got.is_empty());
    let mut compared = 0;
    for (parameter, gradient) in got {
        let golden = format!("{tag}.{parameter}");
        if !loss.has(&golden) {
            continue;
        }
        compared += 1;
        let error = relative_l2(gradient, loss.values(&golden));
        assert!(error < bound(name), "{name} {golden}: {error:e}");
    }
    let expected = loss
        .names()
        .filter(|n| n.starts_with(&format!("{tag}.")))
        .count();
    assert_eq!(
        compared, expected,
        "{name} {tag}: all reference gradients are compared"
    );
}

/// Gradients of all parameters, by published name.
fn gradients<M: Module>(
    module: &M,
    grads: &burn::tensor::Gradients,
    top: usize,
) -> Vec<(String, Vec<f64>)> {
    struct Visit<'a> {
        grads: &'a burn::tensor::Gradients,
        path: Vec<String>,
        top: usize,
        out: Vec<(String, Vec<f64>)>,
    }
    impl burn::module::ModuleVisitor for Visit<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            let last = self.path.last().map(String::as_str);
            let name = match (last, name.parse::<usize>()) {
                (Some("blocks"), Ok(k)) if self.top == 0 => format!("b{}", 4 << k),
                (Some("blocks"), Ok(k)) => format!("b{}", self.top >> k),
                (Some("layers"), Ok(k)) => format!("fc{k}"),
                _ if name == "constant" => "const".to_owned(),
                _ => name.to_owned(),
            };
            self.path.push(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            let parts = self
                .path
                .iter()
                .filter(|p| *p != "blocks" && *p != "layers");
            let name = parts.map(String::as_str).collect::<Vec<_>>().join(".");
            let shape = param.dims();
            let gradient = param.val().grad(self.grads);
            let zeros = || vec![0.0; shape.iter().product()];
            self.out.push((name, gradient.map_or_else(zeros, values)));
        }
    }
    let mut visit = Visit {
        grads,
        path: Vec::new(),
        top,
        out: Vec::new(),
    };
    module.visit(&mut visit);
    visit.out
}

#[test]
fn r1_gradients_by_a_reverse_pass_through_the_tangent() {
    for name in NETS {
        let file = Checkpoint::open(folder().join(format!("official_{name}.pkl"))).unwrap();
        let loss = Golden::open(&format!("official_{name}_loss_f32.safetensors"));
        let device = device().autodiff();
        let d = file.discriminator("D", &device).unwrap();
        let side = file.discriminator_config("D").unwrap().resolution;
        let real = loss.tensor::<4>("real_u8", &device) * (1.0 / 127.5) - 1.0;
        let c = (!loss.values("real_c").is_empty()).then(|| loss.tensor("real_c", &device));
        let x = real.clone().require_grad();
        let logits = d.forward(x.clone(), c.clone());
        assert_close(
            name,
            logits.clone(),
            loss.values("Dr1.Loss/scores/real"),
            1e-4,
        );
        let v = x.grad(&logits.sum().backward()).unwrap();
        let n = v.dims()[0];
        let penalty = v.clone().square().sum_dims_squeeze::<1, _>(&[1, 2, 3]);
        let golden = loss.values("Dr1.Loss/r1_penalty");
        assert!(
            relative_l2(&values(penalty), golden) < bound(name),
            "{name} penalty"
        );
        // loss = mean over samples of gamma / 2 |v|^2; its gradient is gamma / N d(J v).
        let (_, jv) = d.jvp(real, v.autodiff(), c);
        let grads = (jv.sum() * (7.0 / n as f64)).backward();
        let got = gradients(&d, &grads, side);
        let got: Vec<_> = got
            .into_iter()
            .map(|(n, g)| (format!("D.{n}"), g))
            .collect();
        compare_gradients(name, "Dr1.grad", &loss, &got);
    }
}

#[test]
fn path_length_gradients_by_a_reverse_pass_through_the_tangent() {
    for name in NETS {
        let file = Checkpoint::open(folder().join(format!("official_{name}.pkl"))).unwrap();
        let loss = Golden::open(&format!("official_{name}_loss_f32.safetensors"));
        let device = device().autodiff();
        let g = file.generator("G", &device).unwrap();
        let options = SynthesisOptions {
            modulation: Modulation::Unfused,
            ..Default::default()
        };
        let y = loss.tensor::<4>("pl_noise_raw", &device);
        let [n, _, h, w] = y.dims();
        let y = y * (1.0 / ((h * w) as f64).sqrt());
        let z = loss.tensor::<2>("gen_z", &device).slice_dim(0, 0..n);
        let conditional = !loss.values("gen_c").is_empty();
        let c = conditional.then(|| loss.tensor::<2>("gen_c", &device).slice_dim(0, 0..n));

        let ws = g
            .mapping
            .forward(z.clone(), c.clone(), Truncation::default())
            .detach();
        let ws = ws.require_grad();
        let image = g.synthesis.forward(ws.clone(), &options);
        let j = ws.grad(&(image * y.clone()).sum().backward()).unwrap(); // [N, L, w]
        let [_, rows, _] = j.dims();
        let length = j.clone().square().sum_dim(2).mean_dim(1).sqrt(); // [N, 1, 1]
        let lengths = values(length.clone());
        let mean = lengths.iter().sum::<f64>() / n as f64;
        let after = 0.3 + 0.01 * (mean - 0.3);
        assert!((after - loss.values("Gpl.pl_mean_after")[0]).abs() < 1e-4 * after);
        let penalty: Vec<f64> = lengths.iter().map(|l| (l - after).powi(2)).collect();
        assert!(relative_l2(&penalty, loss.values("Gpl.Loss/pl_penalty")) < bound(name));

        // d loss / d length, through the moving mean too; loss = 2 mean (length - mean)^2.
        let spread = 2.0 * penalty_slope(&lengths, after);
        let slope: Vec<f64> = lengths
            .iter()
            .map(|l| 2.0 * 2.0 * (l - after) / n as f64 - spread * 0.01 / n as f64)
            .collect();
        let scale: Vec<f64> = slope
            .iter()
            .zip(&lengths)
            .map(|(s, l)| s / (l * rows as f64))
            .collect();
        let scale = Tensor::<1>::from_floats(&*scale, &device.clone().inner()).reshape([n, 1, 1]);
        let u = (j * scale).autodiff();

        let dual = g.mapping.forward(z, c, Truncation::default());
        let (_, tangent) = g.synthesis.jvp(dual, u, &options);
        let grads = (tangent * y).sum().backward();
        let got = gradients(&g, &grads, 0);
        let got: Vec<_> = got
            .into_iter()
            .map(|(n, g)| (format!("G.{n}"), g))
            .collect();
        // Parameters that do not act through the tangent have a gradient of exactly zero.
        compare_gradients(name, "Gpl.grad", &loss, &got);
    }
}

fn penalty_slope(lengths: &[f64], mean: f64) -> f64 {
    lengths.iter().map(|l| 2.0 * (l - mean)).sum::<f64>() / lengths.len() as f64
}

#[test]
fn generator_loss_gradients() {
    for name in NETS {
        let file = Checkpoint::open(folder().join(format!("official_{name}.pkl"))).unwrap();
        let loss = Golden::open(&format!("official_{name}_loss_f32.safetensors"));
        let device = device().autodiff();
        let g = file.generator("G", &device).unwrap();
        let d = file.discriminator("D", &device).unwrap();
        let z = loss.tensor::<2>("gen_z", &device);
        let conditional = !loss.values("gen_c").is_empty();
        let c = conditional.then(|| loss.tensor::<2>("gen_c", &device));
        let ws = g
            .mapping
            .forward(z.clone(), c.clone(), Truncation::default());
        let image = g.synthesis.forward(ws, &SynthesisOptions::default());
        let logits = d.forward(image, c.clone());
        assert_close(
            name,
            logits.clone(),
            loss.values("Gmain.Loss/scores/fake"),
            1e-4,
        );
        let value = burn::tensor::activation::softplus(-logits, 1.0);
        assert_close(name, value.clone(), loss.values("Gmain.Loss/G/loss"), 1e-4);
        let grads = value.mean().backward();
        let got = gradients(&g, &grads, 0);
        let got: Vec<_> = got
            .into_iter()
            .map(|(n, g)| (format!("G.{n}"), g))
            .collect();
        compare_gradients(name, "Gmain.grad", &loss, &got);

        let w = g.mapping.w(Some(z.into()), c).value;
        let before = values(g.mapping.w_avg.as_ref().unwrap().val());
        let batch = values(w.clone().mean_dim(0));
        let expected: Vec<f64> = before
            .iter()
            .zip(&batch)
            .map(|(m, b)| b + (m - b) * 0.995)
            .collect();
        let tracked = g.mapping.clone().track(w).w_avg.unwrap().val();
        assert_close(name, tracked, &expected, 1e-6);
    }
}

#[test]
fn half_precision_blocks_stay_close() {
    use stylegan2_burn::Precision;
    // The network with labels allows half precision at its four highest resolutions.
    let case = Case::open("cond32");
    let full = case.io.values("img_const");
    let run = |precision| {
        let options = SynthesisOptions {
            precision,
            ..Default::default()
        };
        let image = case.g.synthesis.forward(case.tensor("ws"), &options);
        assert_eq!(image.dtype(), DType::F32);
        let logits = case
            .d
            .forward_with(case.real(), case.label("c8"), precision);
        (values(image), values(logits))
    };
    let (single, plain) = run(Precision::Full);
    for (precision, bound) in [(Precision::F16, 0.02), (Precision::Bf16, 0.1)] {
        let (image, logits) = run(precision);
        assert!(image != single && logits != plain, "{precision:?}");
        let error = relative_l2(&image, full);
        assert!(error < bound, "{precision:?}: {error:e}");
        let error = relative_l2(&logits, case.io.values("logits_real8"));
        assert!(error < bound, "{precision:?} logits: {error:e}");
    }
}
