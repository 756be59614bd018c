"""Writes groups.json: adelie's group-lasso Cox paths on x1..x50 of enet_n300_p50.csv.

Columns are standardised (divisor n) before; penalties are the square roots of the group sizes.
Run in this folder with adelie 1.1.52: python make_groups.py
"""
import csv, json
import adelie as ad
import numpy as np

rows = list(csv.DictReader(open("../survival/data/enet_n300_p50.csv")))
time = np.array([float(r["time"]) for r in rows])
status = np.array([float(r["status"]) for r in rows])
entry = np.array([float(r["entry"]) for r in rows])
x = np.array([[float(r[f"x{j}"]) for j in range(1, 51)] for r in rows])
z = np.asfortranarray((x - x.mean(0)) / x.std(0))
sizes = [1, 2, 3, 4, 5, 5, 10, 10, 10]
groups = np.cumsum([0] + sizes[:-1])
out = {"sizes": sizes, "made_with": {"adelie": ad.__version__, "numpy": np.__version__}}
cases = {"lasso_efron": (1.0, "efron", None), "lasso_breslow": (1.0, "breslow", None),
         "mixed_efron": (0.6, "efron", None), "lasso_entry": (1.0, "breslow", entry)}
for name, (alpha, ties, start) in cases.items():
    glm = ad.glm.cox(start=np.full(300, -1.0) if start is None else start, stop=time, status=status,
                     tie_method=ties)
    fit = ad.grpnet(z, glm, groups=groups, alpha=alpha, penalty=np.sqrt(sizes), intercept=False,
                    lmda_path_size=12, min_ratio=0.05, early_exit=False, tol=1e-18, irls_tol=1e-16,
                    max_iters=10**6, irls_max_iters=10**6, newton_tol=1e-14, progress_bar=False)
    beta = fit.betas.toarray() / x.std(0)
    keep = [3, 7, 11]
    out[name] = {"lambda": list(fit.lmdas), "beta_at": keep,
                 "df": [int(np.count_nonzero(b)) for b in beta], "beta": [list(beta[k]) for k in keep]}
json.dump(out, open("groups.json", "w"))
