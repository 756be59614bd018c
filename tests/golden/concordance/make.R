# Golden concordances. Run in this folder: Rscript make.R
suppressMessages({library(survival); library(jsonlite)})
read <- function(name) read.csv(paste0("../survival/data/", name, ".csv"))
veteran <- read("veteran"); lung <- read("lung"); ovarian <- read("ovarian"); synth <- read("synth_ties")
cases <- list()

# One case: the data and every figure R reports. A list entry left out is NULL (absent in JSON).
add <- function(name, d, score, reverse = TRUE, timewt = "n", entry = NULL, weights = NULL,
                strata = NULL, cluster = NULL, ymin = NULL, ymax = NULL) {
  y <- if (is.null(entry)) Surv(d$time, d$status) else Surv(entry, d$time, d$status)
  z <- concordancefit(y, score, strata = strata, weights = weights, ymin = ymin, ymax = ymax,
                      timewt = timewt, cluster = cluster, influence = 1, reverse = reverse)
  count <- if (is.matrix(z$count)) colSums(z$count) else z$count
  cases[[name]] <<- list(
    time = d$time, event = d$status, score = score, entry = entry, weights = weights,
    strata = strata, cluster = cluster, reverse = unbox(reverse), timewt = unbox(timewt),
    ymin = if (is.null(ymin)) NULL else unbox(ymin),
    ymax = if (is.null(ymax)) NULL else unbox(ymax),
    concordance = unbox(unname(z$concordance)), count = unname(count),
    var = unbox(unname(z$var)), cvar = unbox(unname(z$cvar)), dfbeta = unname(z$dfbeta))
}
weights_of_time <- c("n", "S", "S/G", "n/G2", "I")
short <- function(tw) gsub("/", "", tw)

# Linear predictors of Cox models, in full and rounded (so that scores tie).
models <- list(
  veteran = list(veteran, Surv(time, status) ~ trt + karno + diagtime + age + prior + cell_small + cell_adeno + cell_large),
  lung = list(lung, Surv(time, status) ~ age + sex + ph_ecog + ph_karno + wt_loss),
  ovarian = list(within(ovarian, {time <- futime; status <- fustat}), Surv(time, status) ~ age + resid_ds + rx + ecog_ps),
  synth = list(synth, Surv(time, status) ~ x1 + x2 + x3 + x4 + x5))
for (m in names(models)) {
  d <- models[[m]][[1]]
  lp <- predict(coxph(models[[m]][[2]], d, control = coxph.control(eps = 1e-12, iter.max = 60)), type = "lp")
  add(paste0(m, "/lp"), d, unname(lp))
  for (tw in weights_of_time) add(paste0(m, "/rounded/", short(tw)), d, unname(round(lp, 1)), timewt = tw)
}
add("lung/protective", lung, lung$ph_karno, reverse = FALSE)
add("lung/few_scores", lung, lung$ph_ecog)

# Heavy ties in time and score, everything at once. R 3.5-3 crashes on entry with another
# timewt than "n".
s <- synth
coarse <- round(s$x1 * 2) / 2
for (tw in weights_of_time) {
  add(paste0("synth/weights/", short(tw)), s, coarse, timewt = tw, weights = s$w)
  add(paste0("synth/strata/", short(tw)), s, coarse, timewt = tw, strata = s$stratum)
  add(paste0("synth/weights_strata_cluster/", short(tw)), s, coarse, timewt = tw, weights = s$w, strata = s$stratum, cluster = s$cl)
  add(paste0("synth/latest/", short(tw)), s, coarse, timewt = tw, ymax = 6)
  events <- s[s$status == 1 | s$time >= 4, ]
  add(paste0("synth/earliest_latest/", short(tw)), events, round(events$x1, 1), timewt = tw, ymin = 4, ymax = 9, weights = events$w)
}
add("synth/cluster", s, s$x1, cluster = s$cl)
add("synth/entry", s, s$x1, entry = s$entry)
add("synth/entry_weights_strata", s, coarse, entry = s$entry, weights = s$w, strata = s$stratum)
add("synth/entry_weights_strata_cluster", s, coarse, entry = s$entry, weights = s$iw, strata = s$stratum, cluster = s$cl)
h <- survival::heart
add("heart/entry_cluster", list(time = h$stop, status = h$event), h$age, entry = h$start, cluster = h$id)

# Small and degenerate.
add("two_rows/concordant", list(time = c(1, 2), status = c(1, 1)), c(2, 1))
add("two_rows/discordant", list(time = c(1, 2), status = c(1, 0)), c(1, 2))
add("all_scores_tied", list(time = 1:6, status = c(1, 0, 1, 1, 0, 1)), rep(0.5, 6))
add("few_times", list(time = rep(1:3, 20), status = rep(c(1, 1, 0, 1), 15)), rep(c(1, 2, 2, 5, 3), 12))
add("zero_weights", veteran, veteran$karno, reverse = FALSE, weights = as.numeric(seq_len(nrow(veteran)) %% 3 != 0))

# Two scores on the same patients: R's joint variance of two Cox models' concordances.
a <- coxph(Surv(time, status) ~ age + ph_ecog, lung); b <- coxph(Surv(time, status) ~ sex + wt_loss, lung)
z <- concordance(a, b)
pair <- list(time = lung$time, event = lung$status, score_a = unname(predict(a)), score_b = unname(predict(b)),
             concordance = unname(z$concordance), var = unname(z$var))

write_json(list(made_by = unbox(paste(R.version.string, "survival", packageVersion("survival"))),
                cases = cases, compare = pair), "concordance.json", digits = NA, null = "null")
cat(length(cases), "cases\n")
