# Golden values of the metrics. Run in this folder: python make.py
# (scikit-survival, pandas, numba, dcurves; SurvivalEVAL and pycox by `pip install --no-deps`: only
# single modules of them are loaded, which need no torch.)
import importlib, json, os, sys, types
import numpy as np, pandas as pd, sksurv
from sksurv.datasets import load_gbsg2, load_whas500
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import brier_score, cumulative_dynamic_auc, integrated_brier_score
from sksurv.util import Surv

def part(path):
    """A module of a package without the imports of the packages around it."""
    *around, _ = path.split(".")
    root = next(p for p in sys.path if p and os.path.isdir(os.path.join(p, around[0])))
    for k in range(len(around)):
        name = ".".join(around[: k + 1])
        if name not in sys.modules:
            m = types.ModuleType(name); m.__path__ = [os.path.join(root, *around[: k + 1])]; sys.modules[name] = m
    return importlib.import_module(path)

if "torch" not in sys.modules:
    torch = types.ModuleType("torch"); torch.Tensor = type("Tensor", (), {}); sys.modules["torch"] = torch
td = part("pycox.evaluation.concordance").concordance_td
nbll = part("pycox.evaluation.ipcw").binomial_log_likelihood
dcal = part("SurvivalEVAL.evaluations.calibration.distributional.distribution_calibration").d_calibration
from dcurves import dca

def table(name):
    if name == "gbsg2":
        x, y = load_gbsg2()
        x = x.assign(horTh=(x.horTh == "yes") * 1.0, menostat=(x.menostat == "Post") * 1.0,
                     tgrade=x.tgrade.map({"I": 1.0, "II": 2.0, "III": 3.0}))
        return y["time"].astype(float), y["cens"], x.to_numpy(float)
    if name == "whas500":
        x, y = load_whas500()
        return y["lenfol"].astype(float), y["fstat"], x.to_numpy(float)
    t, e, cols = {"veteran": ("time", "status", ["trt", "karno", "age", "cell_small"]),
                  "synth_ties": ("time", "status", ["x1", "x2", "x3"])}[name]
    d = pd.read_csv(f"../survival/data/{name}.csv")
    return d[t].to_numpy(float), d[e].to_numpy(bool), d[cols].to_numpy(float)

cases = {}
for name, rows in (("veteran", 137), ("synth_ties", 200), ("gbsg2", 160), ("whas500", 160)):
    time, event, X = (a[:rows] for a in table(name))
    y = Surv.from_arrays(event, time)
    train = np.arange(rows) % 2 == 1
    test = ~train & (time < time[train].max())
    fit = CoxPHSurvivalAnalysis(ties="efron", tol=1e-14, n_iter=200).fit(X[train], y[train])
    score = np.round(fit.predict(X), 3)
    # Curves that cross, so that the order of the patients changes with time.
    scale, shape = np.median(time), 0.8 + 0.1 * (np.arange(rows) % 5)
    lp = score - np.median(score)
    s_at = lambda t: np.exp(-np.log(2) * np.power(np.asarray(t)[None, :] / scale, shape[:, None]) * np.exp(lp)[:, None])
    lo, hi = np.quantile(time[test & event], .1), np.quantile(time[test], .85)
    times = np.unique(np.round(np.linspace(lo, hi, 6)) + (0.5 if name in ("veteran", "gbsg2") else 0.0))
    surv = np.round(s_at(times), 6)
    one = {"time": time.tolist(), "event": event.tolist(), "score": score.tolist(), "times": times.tolist(),
           "train": np.where(train)[0].tolist(), "test": np.where(test)[0].tolist(), "surv": surv.tolist()}
    for key, tr in (("train", train), ("own", test)):
        auc, mean = cumulative_dynamic_auc(y[tr], y[test], score[test], times, tied_tol=0)
        auc_s, mean_s = cumulative_dynamic_auc(y[tr], y[test], 1 - surv[test], times, tied_tol=0)
        rounded, _ = cumulative_dynamic_auc(y[tr], y[test], np.round(score[test]), times, tied_tol=0)
        one["with_" + key] = {"auc": auc.tolist(), "mean": float(mean), "auc_curves": auc_s.tolist(), "mean_curves": float(mean_s),
                    "auc_rounded": rounded.tolist(),
                    "brier": brier_score(y[tr], y[test], surv[test], times)[1].tolist(),
                    "ibs": float(integrated_brier_score(y[tr], y[test], surv[test], times))}
    # Antolini on the test rows, curves at all their times. pycox counts an event as comparable with a
    # censoring at the same time, and tied predictions as one half with the adjusted method.
    tt, ee = time[test], event[test]
    grid = np.unique(tt); full = np.round(s_at(grid), 3)[test]
    idx = np.searchsorted(grid, tt)
    one["grid"], one["full"] = grid.tolist(), full.tolist()
    # The strict method gives tied predictions nothing; the adjusted one gives them one half but also
    # counts events at the same time, so it gets times without ties.
    one["c_td_strict"] = float(td(tt, ee, full.T.copy(), idx, "antolini"))
    once = np.empty(len(tt)); once[np.lexsort((~ee, tt))] = np.arange(1.0, len(tt) + 1)
    coarse = np.round(full, 1)
    by_rank = coarse[:, idx[np.argsort(once)]]
    one["once"], one["coarse"] = once.tolist(), coarse.tolist()
    one["c_td_once"] = float(td(once, ee, by_rank.T.copy(), once.astype(int) - 1, "adj_antolini"))
    # D-calibration of the survival at one's own time; one value on the edge of a bin.
    own = np.clip(np.round(s_at(tt)[test, :][np.arange(len(tt)), np.arange(len(tt))], 4), 1e-4, 1)
    own[3] = 0.5
    one["own_survival"] = own.tolist()
    one["d_calibration"] = {}
    for bins in (10, 5):
        stat = dcal(own, ee, num_bins=bins)
        one["d_calibration"][str(bins)] = {"chisq": float(stat[0]), "p": float(stat[1]), "counts": np.asarray(stat[2]).tolist()[::-1]}
    # Decision curve at the third time, risks in hundredths so that some equal a threshold.
    risk = np.round(1 - surv[test, 2], 2)
    at = [0.05, 0.2, 0.35, 0.5, 0.65]
    d = pd.DataFrame({"t": tt, "e": ee.astype(int), "risk": risk})
    r = dca(d, "e", ["risk"], thresholds=at, time=float(times[2]), time_to_outcome_col="t")
    pick_model = lambda m, c: r[r.model == m][c].astype(float).tolist()
    one["decision"] = {"time": float(times[2]), "risk": risk.tolist(), "thresholds": at,
        "treated": pick_model("risk", "test_pos_rate"), "tp": pick_model("risk", "tp_rate"), "fp": pick_model("risk", "fp_rate"),
        "benefit": pick_model("risk", "net_benefit"), "all": pick_model("all", "net_benefit")}
    # pycox: G of the test rows as a step function of their times, censoring last at ties.
    u = np.unique(tt); g = 1.0; G = []
    for t in u:
        c, at = np.sum((tt == t) & ~ee), np.sum((tt > t) | ((tt == t) & ~ee))
        g *= 1 - (c / at if at else 0); G.append(g)
    G = np.array(G)
    Gm = np.repeat(G[:, None], len(tt), 1)
    S = np.round(s_at(times), 6)[test].T.copy()
    # Where events and censorings are tied (`synth_ties`) pycox weights differently: left out.
    tied = set(tt[ee]) & set(tt[~ee])
    one["nbll"] = None if tied else (-nbll(times, tt, ee, S, Gm, times, u)).tolist()
    cases[name] = one

json.dump({"made_by": f"scikit-survival {sksurv.__version__}, numpy {np.__version__}, pycox 0.3.0", "cases": cases},
          open("metrics.json", "w"))
print(len(cases), "cases")
