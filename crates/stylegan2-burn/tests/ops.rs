//! Every operation against the reference program's results and gradients.

#![allow(clippy::cast_possible_truncation)]

mod common;

use burn::tensor::Tensor;
use common::{Golden, assert_close, device, folder, relative_l2, values};
use serde_json::Value;
use stylegan2_burn::ops::{
    Activation, BiasAct, ConvResample, ModulatedConv, Upfirdn, conv2d_resample, dense,
    downsample2d, filter2d, fir_filter, minibatch_std, normalize_second_moment, upsample2d,
};
use stylegan2_burn::{DiscriminatorConfig, Dual, GeneratorConfig, SynthesisOptions, Truncation};

const BOUND: f64 = 1e-5;

fn manifest(op: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("ops_manifest.json")).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found: Vec<Value> = all.into_iter().filter(|v| v["op"] == op).collect();
    assert!(!found.is_empty(), "no cases of {op}");
    found
}

fn ints<const K: usize>(value: &Value) -> [isize; K] {
    let values: Vec<isize> = match value {
        Value::Array(a) => a.iter().map(|v| v.as_i64().unwrap() as isize).collect(),
        Value::Null => vec![0; K],
        v => vec![v.as_i64().unwrap() as isize; K],
    };
    values.try_into().unwrap()
}

fn filter(golden: &Golden, name: &str) -> Tensor<2> {
    let device = device();
    match name {
        "none" => Tensor::ones([1, 1], &device),
        // The reference keeps long filters one-dimensional and runs them twice.
        "sep12" => {
            let taps: Tensor<1> = golden.tensor("upfirdn.f.sep12", &device);
            taps.clone().reshape([12, 1]).matmul(taps.reshape([1, 12]))
        }
        name => golden.tensor(&format!("upfirdn.f.{name}"), &device),
    }
}

#[test]
fn upfirdn_its_gradient_and_its_adjoint() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for case in manifest("upfirdn2d") {
        let i = &case["i"];
        let filter = filter(&golden, case["f"].as_str().unwrap());
        let op = Upfirdn::new()
            .with_up(ints::<2>(&case["up"]).map(isize::unsigned_abs))
            .with_down(ints::<2>(&case["down"]).map(isize::unsigned_abs))
            .with_padding(ints(&case["pad_x0x1y0y1"]))
            .with_flip_filter(case["flip_filter"].as_bool().unwrap())
            .with_gain(case["gain"].as_f64().unwrap());
        let x: Tensor<4> = golden.tensor("upfirdn.x", &device);
        let gy: Tensor<4> = golden.tensor(&format!("upfirdn.{i}.gy"), &device);
        let gx = golden.values(&format!("upfirdn.{i}.gx"));
        let y = golden.values(&format!("upfirdn.{i}.y"));
        let what = format!("upfirdn {i}");
        assert_close(&what, op.forward(x.clone(), &filter), y, BOUND);

        let [_, _, h, w] = x.dims();
        let adjoint = op.adjoint(h, w, filter.dims());
        assert_close(
            &format!("{what} adjoint"),
            adjoint.forward(gy.clone(), &filter),
            gx,
            BOUND,
        );

        let x = x.autodiff().require_grad();
        let grads = (op.forward(x.clone(), &filter) * gy.autodiff())
            .sum()
            .backward();
        assert_close(
            &format!("{what} gradient"),
            x.grad(&grads).unwrap(),
            gx,
            BOUND,
        );
    }
}

#[test]
fn the_three_resampling_shorthands() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for op in ["filter2d", "upsample2d", "downsample2d"] {
        for case in manifest(op) {
            let f = filter(&golden, case["f"].as_str().unwrap());
            let padding = ints(&case["padding"]);
            let flip = case["flip_filter"].as_bool().unwrap_or(false);
            let gain = case["gain"].as_f64().unwrap_or(1.0);
            let x = golden.tensor(&format!("{op}.x"), &device);
            let y = match op {
                "filter2d" => filter2d(x, &f, padding, flip, gain),
                "upsample2d" => upsample2d(x, &f, 2, padding, flip, gain),
                _ => downsample2d(x, &f, 2, padding, flip, gain),
            };
            let i = &case["i"];
            assert_close(
                &format!("{op} {i}"),
                y,
                golden.values(&format!("{op}.{i}.y")),
                BOUND,
            );
        }
    }
}

/// Twin of the resampling with a filter of one tap, which is 1: `size` x `size` samples among `up - 1` zeros,
/// padded before and after.
fn spread(x: &[f64], size: usize, up: usize, [before, after]: [isize; 2]) -> (Vec<f64>, usize) {
    let side = ((size * up).cast_signed() + before + after).unsigned_abs();
    let at = |k: usize| {
        let k = usize::try_from(k.cast_signed() - before).ok()?;
        (k % up == 0 && k / up < size).then_some(k / up)
    };
    let cell = |y, x_| Some(x[at(y)? * size + at(x_)?]);
    let cells = (0..side * side).map(|k| cell(k / side, k % side).unwrap_or(0.0));
    (cells.collect(), side)
}

/// Twin: every `down`-th correlation with a kernel of `k` x `k`.
fn correlate(x: &[f64], side: usize, w: &[f64], k: usize, down: usize) -> Vec<f64> {
    let out = (side - k) / down + 1;
    let at = |y: usize, x_: usize| {
        let cells = (0..k * k).map(|c| w[c] * x[(y * down + c / k) * side + x_ * down + c % k]);
        cells.sum::<f64>()
    };
    (0..out * out).map(|c| at(c / out, c % out)).collect()
}

fn floor_half(value: isize) -> isize {
    (value as f64 / 2.0).floor() as isize
}

#[test]
fn a_filter_of_one_tap_resamples_by_its_formula() {
    let device = device();
    let one = fir_filter(&[2.0], &device);
    let size = 6;
    let cells: Vec<f32> = (0..36).map(|i| (i as f32 * 0.7).sin()).collect();
    let x = || Tensor::<1>::from_floats(&cells[..], &device).reshape([1, 1, 6, 6]);
    let wide: Vec<f64> = cells.iter().map(|&v| v.into()).collect();
    for factor in 2..4_usize {
        let f = factor.cast_signed();
        let pads = [floor_half(1 + f - 1), floor_half(1 - f)];
        let (expected, _) = spread(&wide, size, factor, pads);
        let expected: Vec<f64> = expected.iter().map(|v| v * (f * f) as f64).collect();
        let y = upsample2d(x(), &one, factor, [0; 4], false, 1.0);
        assert_eq!(y.dims(), [1, 1, 6 * factor, 6 * factor]);
        assert_close("up", y, &expected, BOUND);
        let pads = [floor_half(1 - f + 1), floor_half(1 - f)];
        let (padded, side) = spread(&wide, size, 1, pads);
        let expected = correlate(&padded, side, &[1.0], 1, factor);
        let y = downsample2d(x(), &one, factor, [0; 4], false, 1.0);
        assert_eq!(y.dims(), [1, 1, 6 / factor, 6 / factor]);
        assert_close("down", y, &expected, BOUND);
        for k in [1, 3_usize] {
            let weights: Vec<f32> = (0..k * k).map(|i| 1.0 / (i as f32 + 1.5)).collect();
            let w = || Tensor::<1>::from_floats(&weights[..], &device).reshape([1, 1, k, k]);
            let wide_w: Vec<f64> = weights.iter().map(|&v| v.into()).collect();
            let p = (k / 2).cast_signed();
            let pads = [p + floor_half(1 + f - 1), p + floor_half(1 - f)];
            let (padded, side) = spread(&wide, size, factor, pads);
            let expected = correlate(&padded, side, &wide_w, k, 1);
            let expected: Vec<f64> = expected.iter().map(|v| v * (f * f) as f64).collect();
            let y = conv2d_resample(x(), w(), &one, &ConvResample::same(k).with_up(factor));
            assert_eq!(y.dims(), [1, 1, 6 * factor, 6 * factor]);
            assert_close("convolution up", y, &expected, BOUND * (f * f) as f64);
            let pads = [p + floor_half(1 - f + 1), p + floor_half(1 - f)];
            let (padded, side) = spread(&wide, size, 1, pads);
            let expected = correlate(&padded, side, &wide_w, k, factor);
            let y = conv2d_resample(x(), w(), &one, &ConvResample::same(k).with_down(factor));
            assert_eq!(y.dims(), [1, 1, 6 / factor, 6 / factor]);
            assert_close("convolution down", y, &expected, BOUND);
        }
    }
    // Networks with such a filter run.
    let g = GeneratorConfig::new(16)
        .with_channel_base(64)
        .with_resample_filter(vec![1.0]);
    let g = g.init(&device).unwrap();
    let z = Tensor::zeros([1, 512], &device);
    let image = g.forward(z, None, Truncation::psi(1.0), &SynthesisOptions::default());
    assert_eq!(image.dims(), [1, 3, 16, 16]);
    let d = DiscriminatorConfig::new(16)
        .with_channel_base(64)
        .with_resample_filter(vec![1.0]);
    assert_eq!(d.init(&device).unwrap().forward(image, None).dims(), [1, 1]);
}

#[test]
fn bias_act_its_gradient_and_its_tangent() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for case in manifest("bias_act") {
        let i = &case["i"];
        let activation: Activation = serde_json::from_value(case["act"].clone()).unwrap();
        assert!((activation.default_gain() - case["default_gain"].as_f64().unwrap()).abs() < 1e-12);
        let op = BiasAct::new(activation)
            .with_gain(case["gain"].as_f64())
            .with_slope(case["alpha"].as_f64().unwrap_or(0.2))
            .with_clamp(case["clamp"].as_f64());
        let x: Tensor<4> = golden.tensor("bias_act.x", &device);
        let b: Tensor<1> = golden.tensor("bias_act.b", &device);
        let gy: Tensor<4> = golden.tensor(&format!("bias_act.{i}.gy"), &device);
        let what = format!("bias_act {i} ({activation:?})");

        let y = op.forward(x.clone().into(), Some(b.clone())).value;
        assert_close(&what, y, golden.values(&format!("bias_act.{i}.y")), BOUND);

        let gx = golden.values(&format!("bias_act.{i}.gx"));
        let xg = x.clone().autodiff().require_grad();
        let bg = b.clone().autodiff().require_grad();
        let y = op.forward(xg.clone().into(), Some(bg.clone())).value;
        let grads = (y * gy.clone().autodiff()).sum().backward();
        assert_close(&format!("{what} gx"), xg.grad(&grads).unwrap(), gx, BOUND);
        let gb = golden.values(&format!("bias_act.{i}.gb"));
        assert_close(
            &format!("{what} gb"),
            bg.grad(&grads).unwrap(),
            gb,
            3.0 * BOUND,
        );

        // The operation is elementwise: its tangent along gy is the gradient at gy.
        let t = op.forward(Dual::new(x, gy), Some(b)).tangent.unwrap();
        assert_close(&format!("{what} tangent"), t, gx, BOUND);
    }
}

#[test]
fn resampling_convolution_and_its_gradients() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for case in manifest("conv2d_resample") {
        let i = &case["i"];
        let int = |name: &str| case[name].as_u64().unwrap() as usize;
        let options = ConvResample::new()
            .with_up(int("up"))
            .with_down(int("down"))
            .with_groups(int("groups"))
            .with_padding(ints(&case["padding"]))
            .with_flip_weight(case["flip_weight"].as_bool().unwrap());
        let f = filter(&golden, case["f"].as_str().unwrap());
        let tensor =
            |name: &str| golden.tensor::<4>(&format!("conv2d_resample.{i}.{name}"), &device);
        let gold = |name: &str| golden.values(&format!("conv2d_resample.{i}.{name}"));
        let x = golden
            .tensor::<4>("conv2d_resample.x", &device)
            .autodiff()
            .require_grad();
        let w = tensor("w").autodiff().require_grad();
        let y = conv2d_resample(x.clone(), w.clone(), &f, &options);
        assert_close(&format!("conv {i}"), y.clone(), gold("y"), BOUND);
        let grads = (y * tensor("gy").autodiff()).sum().backward();
        assert_close(
            &format!("conv {i} gx"),
            x.grad(&grads).unwrap(),
            gold("gx"),
            BOUND,
        );
        assert_close(
            &format!("conv {i} gw"),
            w.grad(&grads).unwrap(),
            gold("gw"),
            4.0 * BOUND,
        );
    }
}

#[test]
fn modulated_convolution_with_first_and_second_gradients() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for case in manifest("modulated_conv2d") {
        let i = &case["i"];
        let k = case["k"].as_u64().unwrap() as usize;
        let op = ModulatedConv::new(
            ConvResample::same(k)
                .with_up(case["up"].as_u64().unwrap() as usize)
                .with_flip_weight(case["flip_weight"].as_bool().unwrap()),
        )
        .with_demodulate(case["demodulate"].as_bool().unwrap());
        let f = filter(&golden, "f1331");
        let gold = |name: &str| golden.values(&format!("modconv.{i}.{name}"));
        let noise_name = format!("modconv.{i}.noise");
        let noise = golden.has(&noise_name).then(|| {
            let flat: Tensor<1> = {
                let count = golden.values(&noise_name).len();
                if case["noise"] == "const" {
                    golden.tensor::<2>(&noise_name, &device).reshape([count])
                } else {
                    golden.tensor::<4>(&noise_name, &device).reshape([count])
                }
            };
            let gy = golden.tensor::<4>(&format!("modconv.{i}.gy"), &device);
            let [n, _, h, w] = gy.dims();
            let n = if case["noise"] == "const" { 1 } else { n };
            flat.reshape([n, 1, h, w])
        });
        for fused in [
            case["fused"].as_bool().unwrap(),
            !case["fused"].as_bool().unwrap(),
        ] {
            let op = op.with_fused(fused);
            let what = format!("modulated {i} fused={fused}");
            let x0 = golden.tensor::<4>("modconv.x", &device);
            let w0 = golden.tensor::<4>(&format!("modconv.{i}.w"), &device);
            let s0 = golden.tensor::<2>("modconv.styles", &device);
            let gy = golden
                .tensor::<4>(&format!("modconv.{i}.gy"), &device)
                .autodiff();
            let x = x0.clone().autodiff().require_grad();
            let w = w0.clone().autodiff().require_grad();
            let s = s0.clone().autodiff().require_grad();
            let y = op.forward(
                x.clone().into(),
                w.clone(),
                s.clone().into(),
                &f,
                noise.clone(),
            );
            assert_close(&what, y.value.clone(), gold("y"), BOUND);
            let grads = (y.value * gy.clone()).sum().backward();
            assert_close(
                &format!("{what} gx"),
                x.grad(&grads).unwrap(),
                gold("gx"),
                3.0 * BOUND,
            );
            let gs = s.grad(&grads).unwrap();
            let size = |name: &str| gold(name).iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            assert_close(
                &format!("{what} gs"),
                gs.clone(),
                gold("gs"),
                BOUND * size("gs"),
            );
            let gw = w.grad(&grads).unwrap();
            assert_close(&format!("{what} gw"), gw, gold("gw"), BOUND * size("gw"));

            // d sum(gs^2) = 2 d <gy, tangent of y along gs>, by one reverse pass.
            let penalty: f64 = values(gs.clone()).iter().map(|v| v * v).sum();
            let relative = (penalty - gold("second_penalty")[0]).abs() / penalty;
            assert!(relative < 1e-5, "{what} penalty {relative:e}");
            let x = x0.autodiff().require_grad();
            let w = w0.autodiff().require_grad();
            let s = s0.autodiff().require_grad();
            let style = Dual::new(s.clone(), gs.autodiff());
            let y = op.forward(x.clone().into(), w.clone(), style, &f, noise.clone());
            let grads = (y.tangent.unwrap() * gy * 2.0).sum().backward();
            let check = |name: &str, got: Vec<f64>| {
                let error = relative_l2(&got, gold(name));
                assert!(error < 1e-5, "{what} {name}: {error:e}");
            };
            check("g2x", values(x.grad(&grads).unwrap()));
            check("g2w", values(w.grad(&grads).unwrap()));
            if golden.has(&format!("modconv.{i}.g2s")) {
                check("g2s", values(s.grad(&grads).unwrap()));
            }
        }
    }
}

#[test]
fn minibatch_std_its_gradient_and_its_tangent() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for case in manifest("mbstd") {
        let i = &case["i"];
        let group = case["group_size"].as_u64().map(|g| g as usize);
        let features = case["num_channels"].as_u64().unwrap() as usize;
        let tensor = |name: &str| golden.tensor::<4>(&format!("mbstd.{i}.{name}"), &device);
        let gold = |name: &str| golden.values(&format!("mbstd.{i}.{name}"));
        let x = tensor("x").autodiff().require_grad();
        let y = minibatch_std(x.clone().into(), group, features).value;
        assert_close(&format!("mbstd {i}"), y.clone(), gold("y"), BOUND);
        let grads = (y * tensor("gy").autodiff()).sum().backward();
        let gx = x.grad(&grads).unwrap();
        assert_close(&format!("mbstd {i} gx"), gx, gold("gx"), BOUND);
        // <gy, J v> = <J' gy, v>.
        let v = tensor("x").sin();
        let t = minibatch_std(Dual::new(tensor("x"), v.clone()), group, features)
            .tangent
            .unwrap();
        let dot = |a: Vec<f64>, b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (left, right) = (dot(values(t), gold("gy")), dot(values(v), gold("gx")));
        assert!(
            (left - right).abs() < 1e-4 * (1.0 + left.abs()),
            "mbstd {i}: {left} and {right}"
        );
    }
}

#[test]
fn dense_layers_and_normalisation() {
    let golden = Golden::open("ops.safetensors");
    let device = device();
    for case in manifest("fc") {
        let i = &case["i"];
        let x: Tensor<2> = golden.tensor(&format!("fc.{i}.x"), &device);
        let weight = golden.tensor(&format!("fc.{i}.weight"), &device);
        let bias = golden.tensor(&format!("fc.{i}.bias"), &device);
        let y = dense(
            x.into(),
            weight,
            Some(bias),
            case["lr_multiplier"].as_f64().unwrap(),
        );
        let activation = serde_json::from_value(case["act"].clone()).unwrap();
        let y = BiasAct::new(activation).forward(y, None).value;
        assert_close(
            &format!("fc {i}"),
            y,
            golden.values(&format!("fc.{i}.y")),
            BOUND,
        );
    }
    let x: Tensor<2> = golden.tensor("norm2.x", &device);
    let y = normalize_second_moment(x.into()).value;
    assert_close("second moment", y, golden.values("norm2.y"), BOUND);
}
