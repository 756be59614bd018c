"""Cox fits and concordance of lifelines and scikit-survival, as they come: prints CPU seconds and what was found.

usage: cox_python.py TASK FOLDER N P
TASK: lifelines, sksurv, lifelines_c, sksurv_c
FOLDER holds x, time and event as doubles, x by columns. Reading, making a data frame and start-up are not timed.
"""
import sys, time
import numpy as np

task, folder, (n, p) = sys.argv[1], sys.argv[2], map(int, sys.argv[3:5])
read = lambda name: np.fromfile(f"{folder}/{name}")
x = read("x").reshape(p, n).T
t, event = read("time"), read("event") > 0
if task == "lifelines":
    import pandas as pd
    from lifelines import CoxPHFitter
    table = pd.DataFrame(x, columns=[f"x{j}" for j in range(p)])
    table["time"], table["event"] = t, event
    start = time.process_time()
    fit = CoxPHFitter().fit(table, "time", "event")
    said = f"{fit.params_.iloc[0]:.9f}"
elif task == "sksurv":
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    y = np.array(list(zip(event, t)), dtype=[("event", "?"), ("time", "<f8")])
    x = np.ascontiguousarray(x)
    start = time.process_time()
    fit = CoxPHSurvivalAnalysis(ties="efron").fit(x, y)
    said = f"{fit.coef_[0]:.9f}"
elif task == "lifelines_c":
    from lifelines.utils import concordance_index
    score = -x[:, 0]
    start = time.process_time()
    said = f"{concordance_index(t, score, event):.9f}"
else:
    from sksurv.metrics import concordance_index_censored
    score = np.ascontiguousarray(x[:, 0])
    start = time.process_time()
    said = f"{concordance_index_censored(event, t, score)[0]:.9f}"
print(time.process_time() - start, "|", said)
