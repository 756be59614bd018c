# Golden Uno concordances. Run in this folder: python make.py (scikit-survival, pandas)
import json
import numpy as np, pandas as pd, sksurv
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_ipcw
from sksurv.util import Surv

SETS = {
    "rossi": ("week", "arrest", ["fin", "age", "race", "wexp", "mar", "paro", "prio"]),
    "gbsg2": ("time", "cens", ["age", "estrec", "horTh", "postmeno", "pnodes", "progrec", "tgrade", "tsize"]),
    "veteran": ("time", "status", ["trt", "karno", "diagtime", "age", "prior", "cell_small", "cell_adeno", "cell_large"]),
    "synth_ties": ("time", "status", ["x1", "x2", "x3"]),
}
cases = {}
for name, (t, e, x) in SETS.items():
    d = pd.read_csv(f"../survival/data/{name}.csv")
    time, event, X = d[t].to_numpy(float), d[e].to_numpy(bool), d[x].to_numpy(float)
    y = Surv.from_arrays(event, time)
    # odd rows train, even rows test, as far as the training times reach
    train = np.arange(len(d)) % 2 == 1
    test = ~train & (time < time[train].max())
    fit = CoxPHSurvivalAnalysis(ties="efron", tol=1e-14, n_iter=200).fit(X[train], y[train])
    for digits in (1, 12):
        score = np.round(fit.predict(X), digits)
        tau = float(np.quantile(time[test], 0.8)) + 0.5  # between whole-number times
        c = lambda tr, te, **k: float(concordance_index_ipcw(y[tr], y[te], score[te], tied_tol=1e-13, **k)[0])
        cases[f"{name}/{digits}"] = {
            "time": time.tolist(), "event": event.tolist(), "score": score.tolist(),
            "train": np.where(train)[0].tolist(), "test": np.where(test)[0].tolist(), "tau": tau,
            "uno": c(train, test), "uno_tau": c(train, test, tau=tau),
            "uno_tau_same": c(train, train, tau=tau),
        }
json.dump({"made_by": f"scikit-survival {sksurv.__version__}, numpy {np.__version__}", "cases": cases}, open("uno.json", "w"))
print(len(cases), "cases")
