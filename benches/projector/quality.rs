//! What every method of inversion reaches on photos, and what it costs.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use cpu_time::ProcessTime;
use latent_inversion::align::Landmarks;
use latent_inversion::cohort::{Manifest, open_face};
use latent_inversion::face::{Embedding, FaceDetector, Identity};
use latent_inversion::{
    Decoder, Inversion, Inverter, Method, Photo, PhotoLimits, PivotalTuning, Quality, Tools,
    WDistribution, broadcast,
};

use crate::{Fallible, Shipped, pictures};

/// What is compared.
pub(crate) struct Settings {
    pub(crate) default: Inverter,
    /// Steps of the projector.
    pub(crate) steps: usize,
    /// Steps of pivotal tuning.
    pub(crate) tuning: Option<usize>,
    /// The one method that is wanted.
    pub(crate) only: Option<String>,
}

/// The photos of a folder, all at once.
struct Photos<'a> {
    shipped: &'a Shipped,
    ids: Vec<String>,
    images: Tensor<4>,
    identities: Identities,
}

/// Inverts the photos of a folder by every method.
pub(crate) fn quality(shipped: &Shipped, settings: &Settings, folder: &Path) -> Fallible<()> {
    let manifest = Manifest::of_folder(folder)?;
    let limits = PhotoLimits::default();
    let entries = manifest.entries().iter();
    let images = entries.map(|e| open_face(&e.path, &limits, &shipped.decoder));
    let images = Tensor::cat(images.collect::<Result<Vec<_>, _>>()?, 0);
    let photos = Photos {
        shipped,
        ids: manifest.entries().iter().map(|e| e.id.clone()).collect(),
        identities: Identities::of(&images)?,
        images,
    };
    println!(
        "identity cosine of different photos: {:.3}",
        photos.identities.of_others()
    );
    let wanted = |name: &str| settings.only.as_ref().is_none_or(|only| only == name);
    let projector = shipped
        .inverter(Method::Projector)
        .with_steps(settings.steps);
    let mut pivots = None;
    for (name, inverter) in [
        ("encoder", shipped.inverter(Method::Encoder)),
        ("default", settings.default),
        ("hybrid", shipped.inverter(Method::Hybrid)),
        ("projector", projector),
    ] {
        let left_out = name == "projector" && settings.steps == 0;
        let for_pti = name == "default" && settings.tuning.is_some() && wanted("pti");
        if left_out || !(wanted(name) || for_pti) {
            continue;
        }
        let found = photos.invert(name, &inverter)?;
        if name == "default" {
            pivots = Some(found);
        }
    }
    if let (Some(steps), Some(pivots), true) = (settings.tuning, pivots, wanted("pti")) {
        photos.tune(steps, &pivots)?;
    }
    Ok(())
}

impl Photos<'_> {
    /// By one method; prints what it reaches.
    fn invert(&self, name: &str, inverter: &Inverter) -> Fallible<Vec<Inversion>> {
        let published = WDistribution::published(&self.shipped.decoder)?;
        let mut tools: Tools<'_> = self.shipped.tools();
        if inverter.method == Method::Projector {
            tools.distribution = &published;
        }
        let decoder = &self.shipped.decoder;
        let (n, rows, width) = (self.ids.len(), decoder.num_ws(), decoder.w_dim());
        let started = ProcessTime::now();
        let on = &mut |_: usize, _: usize| ControlFlow::Continue(());
        let found = inverter.invert(&tools, self.images.clone(), &self.ids, on)?;
        let seconds = started.elapsed().as_secs_f64() / n as f64;
        let found = found.ok_or("broken off")?;
        let mean = |of: &dyn Fn(&Quality) -> f64| {
            found.iter().map(|f| of(&f.quality)).sum::<f64>() / n as f64
        };
        let all = |of: fn(&Inversion) -> &[f32]| -> Vec<f32> {
            found.iter().flat_map(|f| of(f).iter().copied()).collect()
        };
        let device = decoder.device();
        let w = TensorData::new(all(|f| &f.w), [n, width]);
        let w = broadcast(Tensor::from_data(w, &device), rows);
        let plus = TensorData::new(all(|f| &f.w_plus), [n, rows, width]);
        let plus = Tensor::from_data(plus, &device);
        let identity = |ws: Tensor<3>| {
            let picture = decoder.decode(ws, None).clamp(-1.0, 1.0);
            self.identities.cosine(&picture)
        };
        println!(
            "{name:9} {n} photos, {seconds:.2} CPU s each; LPIPS W {:.4} W+ {:.4}, PSNR W {:.2} W+ {:.2}, \
             identity cosine W {:.3} W+ {:.3}; Mahalanobis {:.1}, trusted {}",
            mean(&|q| q.lpips_w),
            mean(&|q| q.lpips),
            mean(&|q| q.psnr_w),
            mean(&|q| q.psnr),
            identity(w)?,
            identity(plus)?,
            mean(&|q| q.mahalanobis),
            found.iter().filter(|f| f.quality.trusted).count(),
        );
        Ok(found)
    }

    /// A generator for each photo, around its w.
    fn tune(&self, steps: usize, pivots: &[Inversion]) -> Fallible<()> {
        let decoder = &self.shipped.decoder;
        let settings = PivotalTuning {
            steps,
            ..PivotalTuning::default()
        };
        let started = ProcessTime::now();
        let (mut reached, mut made) = ([0.0; 2], Vec::new());
        for (k, pivot) in pivots.iter().enumerate() {
            let image = self.images.clone().narrow(0, k, 1);
            let w = TensorData::new(pivot.w.clone(), [1, 1, decoder.w_dim()]);
            let w = Tensor::<3>::from_data(w, &decoder.device());
            let on = &mut |_: usize, _: &[f32]| ControlFlow::Continue(());
            let tuned = settings.run(decoder, &self.shipped.lpips, image, w.clone(), on)?;
            reached[0] += tuned.quality[0][0];
            reached[1] += tuned.quality[0][1];
            let ws = broadcast(w.reshape([1, decoder.w_dim()]), decoder.num_ws());
            made.push(tuned.decoder.decode(ws, None).clamp(-1.0, 1.0));
        }
        let n = pivots.len();
        println!(
            "pti       {n} photos, {:.2} CPU s each beside default; LPIPS {:.4}, PSNR {:.2}, identity cosine {:.3}",
            started.elapsed().as_secs_f64() / n as f64,
            reached[0] / n as f64,
            reached[1] / n as f64,
            self.identities.cosine(&Tensor::cat(made, 0))?
        );
        Ok(())
    }
}

/// Which persons the photos show, for the network that tells persons apart.
struct Identities {
    network: Identity,
    landmarks: Vec<Landmarks>,
    photos: Vec<Embedding>,
}

impl Identities {
    fn of(images: &Tensor<4>) -> Fallible<Self> {
        let device = images.device();
        let detector = FaceDetector::new(&device)?;
        let network = Identity::new(&device)?;
        let photos = pictures(images)?;
        let mut landmarks = Vec::new();
        for photo in &photos {
            let found = detector.detect(photo)?;
            let face = found.first().ok_or("a photo without a face")?;
            landmarks.push(Landmarks::from_five(face.landmarks)?);
        }
        let mut own = Self {
            network,
            landmarks,
            photos: Vec::new(),
        };
        own.photos = own.embed(&photos)?;
        Ok(own)
    }

    /// At the places where the photos have their faces.
    fn embed(&self, pictures: &[Photo]) -> Fallible<Vec<Embedding>> {
        let faces = pictures.iter().zip(self.landmarks.iter().copied());
        Ok(self.network.embed_all(&faces.collect::<Vec<_>>())?)
    }

    /// The mean cosine of each photo and its picture.
    fn cosine(&self, images: &Tensor<4>) -> Fallible<f64> {
        let found = self.embed(&pictures(images)?)?;
        let cosines = found.iter().zip(&self.photos).map(|(a, b)| a.cosine(b));
        Ok(cosines.sum::<f64>() / found.len() as f64)
    }

    /// The mean cosine of different photos.
    fn of_others(&self) -> f64 {
        let n = self.photos.len();
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let cosines = pairs.map(|(i, j)| self.photos[i].cosine(&self.photos[j]));
        cosines.sum::<f64>() / (n * (n - 1) / 2).max(1) as f64
    }
}
