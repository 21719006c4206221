//! `pack --fit` between files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rayon::prelude::*;

use super::candidates::{Candidates, wanted_classes};
use super::groups::{Group, groups};
use super::meter::Meter;
use super::search::{self, CLASSES, Choice, Cost, Setting, Step};
use super::{Curve, CurvePoint, Grouping, Prediction, Way};
use crate::artifact::pack_job::{Done, PackJob, PackJobError};
use crate::artifact::{Budget, Hessians, PackContext, PackError, needed_hessians, pack};
use crate::data::{Calibration, CalibrationError};
use crate::engine::EngineError;
use crate::eval::PlanError;
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::QuantizationConfig;
use crate::model::Params;
use crate::progress::Progress;
use crate::quant::ClassPattern;
use crate::units::Bytes;

/// Points of the curve whose loss is measured, ends included; the chosen setting comes on top.
const CURVE_POINTS: u64 = 12;

/// What to fit, and how.
#[derive(Clone, Debug)]
pub struct FitJob {
    /// Inputs and outputs. Classes in its manifest pin their tensors: these are not searched.
    pub job: PackJob,
    /// Folder that the manifest's relative paths start from.
    pub folder: PathBuf,
    /// Code plus model.
    pub budget: Bytes,
    /// Shard to measure on; `None` for the last training shard.
    pub calibration: Option<PathBuf>,
    /// Predictions to measure on.
    pub calibration_tokens: u64,
    /// What is lowered together.
    pub grouping: Grouping,
    /// Ways to choose integers, each searched on its own; of equal damage the first wins.
    pub ways: Vec<Way>,
}

/// A finished fit.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What was packed and written.
    pub done: Done,
    /// What it was chosen from.
    pub curve: Curve,
}

/// Why nothing was fitted. No file was touched, save where [`PackJobError`] says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The code alone is too much.
    #[error("the code files take {code} bytes, more than the {budget} of --fit; shorten the code or raise the budget")]
    Code {
        /// Listed in the manifest.
        code: Bytes,
        /// Asked for.
        budget: Bytes,
    },
    /// Every setting is too large.
    #[error(
        "nothing fits {budget} bytes: the smallest setting reached takes {smallest} (model {model}, code {code}); \
         raise the budget, prune (--prune), use --codec ans, or train a smaller model"
    )]
    TooSmall {
        /// Asked for.
        budget: Bytes,
        /// Smallest total found.
        smallest: Bytes,
        /// Its model.
        model: Bytes,
        /// Its code.
        code: Bytes,
    },
    /// A correction that would have to be found anew for every class.
    #[error(
        "low_rank of a rule: --fit does not search corrections; leave it out of quantization.rules and of --fit-way"
    )]
    LowRank,
    /// The calibration data cannot be used.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The windows cannot be cut.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A likelihood that is no number.
    #[error("the calibration loss is {value}: the weights give logits that are not finite; training diverged")]
    NotFinite {
        /// What the engine returned.
        value: f32,
    },
    /// Quantizing or compressing failed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Reading or writing failed.
    #[error(transparent)]
    Job(#[from] PackJobError),
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// One way to choose integers, searched.
struct Searched<'a> {
    candidates: Candidates<'a>,
    costs: Vec<[Cost; CLASSES.len()]>,
    steps: Vec<Step>,
    real: Vec<u64>,
    choice: Option<Choice>,
}

impl FitJob {
    /// Searches, packs the choice and writes artifact and manifest.
    pub fn run(self, progress: &Progress, interrupt: &Interrupt) -> Result<Fitted, FitError> {
        let manifest = &self.job.manifest;
        let code = Budget::code_of(manifest);
        let room = self.budget.0.checked_sub(code.0).ok_or(FitError::Code { code, budget: self.budget })?;
        let of_ways =
            self.ways.iter().filter_map(|way| if let Way::Rule(rule) = way { Some(rule.low_rank) } else { None });
        let of_rules = manifest.quantization.rules.iter().map(|rule| rule.low_rank);
        if of_rules.chain(of_ways).any(|low_rank| low_rank.is_some()) {
            return Err(FitError::LowRank);
        }
        let shard = self.calibration.as_deref();
        let calibration = Calibration::open(manifest, &self.folder, shard, self.calibration_tokens)?;
        let (params, inputs) = self.job.open()?;
        let pinned: &[ClassPattern] = &manifest.quantization.classes;
        let groups = groups(&manifest.model, pinned, self.grouping);

        let configs: Vec<(Way, QuantizationConfig)> =
            self.ways.iter().map(|way| (*way, way.applied(&manifest.quantization, &manifest.model))).collect();
        let hessians = self.hessians(&params, &configs, &groups, progress, interrupt)?;

        let losses = 1 + self.ways.len() * (1 + groups.len() * (CLASSES.len() - 1));
        progress.set_len(losses as u64);
        let meter = Meter { model: &manifest.model, calibration: &calibration, progress, interrupt };
        let loss_f32 = meter.loss(&params)?;
        let mut searched = Vec::new();
        for config in configs {
            progress.note(format!("scales {}", config.0));
            let candidates = Candidates::new(&params, config, &groups, hessians.as_ref(), interrupt)?;
            searched.push(explore(candidates, &meter, losses, room)?);
        }
        let Some((chosen, choice)) = best(&searched) else {
            let smallest = searched.iter().flat_map(|searched| &searched.real).min().copied().unwrap_or(0);
            let (model, total) = (Bytes(smallest), Bytes(smallest.saturating_add(code.0)));
            return Err(FitError::TooSmall { budget: self.budget, smallest: total, model, code });
        };

        let points = measure(chosen, choice, &meter)?;
        let config = chosen.candidates.settings(&params, &choice.setting)?;
        let curve = Curve {
            budget: self.budget,
            code,
            loss_f32,
            way: chosen.candidates.way,
            predictions: searched.iter().map(|searched| searched.prediction(choice.damage)).collect(),
            costs: searched.iter().map(|searched| (searched.candidates.way, searched.costs.clone())).collect(),
            steps: chosen.steps.clone(),
            points,
            setting: choice.setting.clone(),
            groups: groups.clone(),
            calibration: calibration.clone(),
        };
        drop(searched);
        calibration.check_unchanged()?;
        // From the recorded settings alone, as anybody will pack it again.
        let context = PackContext { hessians: hessians.as_ref(), code };
        let packed = pack(params, &config, context, &Progress::hidden(), interrupt)?;
        let record = hessians.filter(|_| config.uses_hessians()).map(|hessians| hessians.record().clone());
        let mut job = self.job;
        job.manifest.quantization = config;
        let done = job.finish(packed, record, inputs, interrupt)?;
        Ok(Fitted { done, curve })
    }

    /// The Hessians that any of the ways rounds by.
    fn hessians(
        &self,
        params: &Params,
        configs: &[(Way, QuantizationConfig)],
        groups: &[Group],
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<Hessians>, FitError> {
        let mut needed = BTreeSet::new();
        for (_, config) in configs {
            let classes = params.iter().zip(wanted_classes(params, config, groups)?);
            let integers = classes.filter(|(_, classes)| classes.iter().any(|class| class.symbols().is_some()));
            let names = integers.map(|((name, _), _)| name);
            let of_way = needed_hessians(names, config, &self.job.manifest.model).map_err(PackError::from)?;
            needed.extend(of_way);
        }
        Ok(self.job.calibrate(params, needed.into_iter().collect(), progress, interrupt)?)
    }
}

impl Searched<'_> {
    /// How near this way comes to the choice: what its own best fit would cost, and the bytes it needs to cost no more than
    /// `damage`.
    fn prediction(&self, damage: f64) -> Prediction {
        let mut sum = 0.0;
        let after_steps = self.steps.iter().map(|step| {
            sum += step.damage;
            sum
        });
        let damages = std::iter::once(0.0).chain(after_steps);
        let within = damages.zip(&self.real).filter(|(of_point, _)| *of_point <= damage).map(|(_, bytes)| *bytes);
        // The choice itself may have one step taken back, and then lies beside the path.
        let own = self.choice.iter().filter(|choice| choice.damage <= damage).map(|choice| choice.bytes);
        Prediction {
            way: self.candidates.way,
            damage: self.choice.as_ref().map(|choice| choice.damage),
            bytes: within.chain(own).min().map(Bytes),
        }
    }
}

/// The least predicted damage of all searches, the first of equals.
fn best<'s, 'a>(searched: &'s [Searched<'a>]) -> Option<(&'s Searched<'a>, &'s Choice)> {
    let found = searched.iter().filter_map(|searched| Some((searched, searched.choice.as_ref()?)));
    found.min_by(|(_, a), (_, b)| a.damage.total_cmp(&b.damage))
}

/// Measures what every class of every group costs, follows the path and packs every point of it.
fn explore<'a>(
    candidates: Candidates<'a>,
    meter: &Meter<'_>,
    losses: usize,
    room: u64,
) -> Result<Searched<'a>, FitError> {
    let groups = candidates.groups;
    let top: Setting = vec![0; groups.len()];
    let loss_top = meter.loss(&candidates.weights(&top))?;
    let mut costs = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let mut of_group = [Cost { bytes: candidates.size_alone(group, 0)?, damage: 0.0 }; CLASSES.len()];
        for (class, cost) in of_group.iter_mut().enumerate().skip(1) {
            let mut setting = top.clone();
            setting[index] = class;
            let damage = (meter.loss(&candidates.weights(&setting))? - loss_top).max(0.0);
            *cost = Cost { bytes: candidates.size_alone(group, class)?, damage };
        }
        costs.push(of_group);
    }
    let steps = search::path(&costs);
    meter.progress.set_len((losses + steps.len() + CURVE_POINTS as usize) as u64);
    let real: Vec<u64> = (0..=steps.len())
        .into_par_iter()
        .map(|taken| {
            meter.interrupt.check()?;
            let size = candidates.real_size(&search::setting(groups.len(), &steps, taken));
            meter.progress.advance(1);
            size
        })
        .collect::<Result<_, FitError>>()?;
    let choice = search::choose(groups.len(), &steps, &real, room, |setting| candidates.real_size(setting))?;
    Ok(Searched { candidates, costs, steps, real, choice })
}

/// Losses of points spread over the path by size, and of the choice, from large to small.
fn measure(searched: &Searched<'_>, choice: &Choice, meter: &Meter<'_>) -> Result<Vec<CurvePoint>, FitError> {
    let Searched { candidates, steps, real, .. } = searched;
    let (largest, smallest) = (real.iter().max().copied().unwrap_or(0), real.iter().min().copied().unwrap_or(0));
    let nearest = |i: u64| {
        let target = largest - (largest - smallest) / (CURVE_POINTS - 1) * i;
        real.iter().enumerate().min_by_key(|(_, size)| size.abs_diff(target)).map_or(0, |(taken, _)| taken)
    };
    let mut at: Vec<usize> = (1..CURVE_POINTS - 1).map(nearest).chain([0, steps.len()]).collect();
    if choice.undone.is_none() {
        at.retain(|taken| *taken != choice.taken);
    }
    at.sort_unstable();
    at.dedup();
    let mut points = Vec::new();
    for taken in at {
        let setting = search::setting(candidates.groups.len(), steps, taken);
        let predicted = steps[..taken].iter().fold(0.0, |sum, step| sum + step.damage);
        let loss = meter.loss(&candidates.weights(&setting))?;
        let bytes = Bytes(real[taken]);
        points.push(CurvePoint { taken, undone: None, is_choice: false, bytes, predicted, loss, setting });
    }
    points.push(CurvePoint {
        taken: choice.taken,
        undone: choice.undone,
        is_choice: true,
        bytes: Bytes(choice.bytes),
        predicted: choice.damage,
        loss: meter.loss(&candidates.weights(&choice.setting))?,
        setting: choice.setting.clone(),
    });
    points.sort_by_key(|point| std::cmp::Reverse(point.bytes));
    Ok(points)
}
