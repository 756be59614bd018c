# Robust score tests by R's survival: Rscript robust_score.R, in this folder.
library(survival)
d <- read.csv("../survival/data/synth_ties.csv")
out <- list(R = R.version.string, survival = as.character(packageVersion("survival")))
add <- function(name, y, more = "", weights = NULL, cluster = NULL) for (ties in c("efron", "breslow")) {
  f <- as.formula(paste(y, "~ x1 + x2 + x3 + x4 + x5", more))
  args <- list(f, d, ties = ties, robust = TRUE, control = coxph.control(eps = 1e-12))
  fit <- do.call(coxph, c(args, list(weights = weights), list(cluster = cluster)))
  out[[paste0(name, "/", ties)]] <<- summary(fit)$robscore[["test"]]
}
add("synth_w_robust", "Surv(time, status)", weights = d$w)
add("synth_cluster", "Surv(time, status)", cluster = d$cl)
add("synth_everything", "Surv(entry, time, status)", "+ strata(stratum)", weights = d$w, cluster = d$cl)
writeLines(jsonlite::toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "robust_score.json")
