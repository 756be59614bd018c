"""Penalised Cox paths of adelie and scikit-survival, as they come: prints CPU seconds and what was found.

usage: path_python.py TASK FOLDER N P RATIO      TASK: adelie, sksurv or adelie_cv
FOLDER holds x, time and event as doubles, x by columns. Reading and start-up are not timed.
"""
import sys, time
import numpy as np

task, folder, (n, p), ratio = sys.argv[1], sys.argv[2], map(int, sys.argv[3:5]), float(sys.argv[5])
read = lambda name: np.fromfile(f"{folder}/{name}")
x = np.asfortranarray(read("x").reshape(p, n).T)
t, event = read("time"), read("event")
if task == "sksurv":
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    y = np.array(list(zip(event > 0, t)), dtype=[("event", "?"), ("time", "<f8")])
    model = CoxnetSurvivalAnalysis(l1_ratio=0.95, n_alphas=100, alpha_min_ratio=ratio)
    start = time.process_time()
    model.fit(x, y)
    seconds = time.process_time() - start
    said = f"lambdas {len(model.alphas_)} df {(model.coef_[:, -1] != 0).sum()} dev {model.deviance_ratio_[-1]:.6f}"
else:
    import adelie as ad
    path = dict(alpha=0.95, lmda_path_size=100, min_ratio=ratio, n_threads=1, progress_bar=False)
    start = time.process_time()
    glm = ad.glm.cox(start=np.zeros(n), stop=t, status=event, tie_method="breslow")
    if task == "adelie":
        state = ad.grpnet(X=x, glm=glm, **path)
        seconds = time.process_time() - start
        said = f"lambdas {len(state.lmdas)} df {state.betas[-1].nnz} dev {state.devs[-1]:.6f}"
    else:
        found = ad.cv.cv_grpnet(X=x, glm=glm, n_folds=10, seed=1, **path)
        seconds = time.process_time() - start
        said = f"best {found.best_idx}"
print(seconds, "|", said)
