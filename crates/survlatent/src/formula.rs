//! Features and roles in R's notation: `age + rcs(bili, 4) + sex:stage + strata(centre)`.

use cox_survival::RestrictedCubicSpline;

use crate::error::{Error, Result};

/// What stands right of the tilde in R, taken apart.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Formula {
    /// Terms to add, in order, none of them twice.
    pub(crate) terms: Vec<Term>,
    /// Terms behind a minus sign.
    pub(crate) removed: Vec<Term>,
    /// Whether `.` is among the terms: every other numeric column, at this place.
    pub(crate) others: Option<usize>,
    pub(crate) strata: Vec<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) offset: Option<String>,
}

/// A product of factors; a single one is the usual case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Term(pub(crate) Vec<Factor>);

/// A column and what is made of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factor {
    pub(crate) column: String,
    pub(crate) transform: Transform,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Transform {
    /// As it stands: a number, or categories when it is text.
    Identity,
    /// Categories, even of numbers.
    Categories,
    /// A function by name.
    Function(&'static str),
    /// A restricted cubic spline: one number of knots, or the knots.
    Spline(Vec<f64>),
}

/// Functions of one number.
const FUNCTIONS: [&str; 6] = ["log", "log2", "log10", "sqrt", "exp", "square"];

fn apply(function: &str, v: f64) -> f64 {
    match function {
        "log" => v.ln(),
        "log2" => v.log2(),
        "log10" => v.log10(),
        "sqrt" => v.sqrt(),
        "exp" => v.exp(),
        _ => v * v,
    }
}

impl Term {
    pub(crate) fn plain(column: &str) -> Self {
        Self(vec![Factor {
            column: column.to_owned(),
            transform: Transform::Identity,
        }])
    }

    /// The column of a term that is nothing but a column.
    pub(crate) fn alone(&self) -> Option<&Factor> {
        match &self.0[..] {
            [
                factor @ Factor {
                    transform: Transform::Identity | Transform::Categories,
                    ..
                },
            ] => Some(factor),
            _ => None,
        }
    }

    /// The product; a factor times itself is the factor, as in R.
    fn times(&self, other: &Self) -> Self {
        let mut factors = self.0.clone();
        let new = other.0.iter().filter(|factor| !self.0.contains(factor));
        factors.extend(new.cloned());
        Self(factors)
    }

    /// The same factors, in whatever order.
    fn same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|factor| other.0.contains(factor))
    }
}

impl Transform {
    /// Columns made of the numbers `values`, with their names.
    ///
    /// # Errors
    /// The row whose value has no such function, or what [`RestrictedCubicSpline`] refuses.
    pub(crate) fn columns(
        &self,
        name: &str,
        values: Vec<f64>,
    ) -> std::result::Result<Vec<(String, Vec<f64>)>, Fault> {
        Ok(match self {
            Self::Identity | Self::Categories => vec![(name.to_owned(), values)],
            Self::Function(function) => {
                let made: Vec<f64> = values.iter().map(|&v| apply(function, v)).collect();
                if let Some(row) = made.iter().position(|v| !v.is_finite()) {
                    return Err(Fault::Value { row, function });
                }
                vec![(format!("{function}({name})"), made)]
            }
            Self::Spline(knots) => {
                let spline = match knots[..] {
                    // Checked when it was parsed.
                    #[expect(clippy::cast_sign_loss, reason = "3 to 7")]
                    [k] => RestrictedCubicSpline::from_quantiles(&values, k as usize),
                    _ => RestrictedCubicSpline::new(knots.clone()),
                }?;
                let (basis, width) = (spline.basis(&values)?, spline.columns());
                (0..width)
                    .map(|j| {
                        let column = basis.iter().skip(j).step_by(width).copied();
                        (format!("{name}{}", "'".repeat(j)), column.collect())
                    })
                    .collect()
            }
        })
    }
}

/// Why a transform has no value.
pub(crate) enum Fault {
    /// Not in the function's domain, or too large.
    Value {
        row: usize,
        function: &'static str,
    },
    Cox(cox_survival::Error),
}

impl From<cox_survival::Error> for Fault {
    fn from(error: cox_survival::Error) -> Self {
        Self::Cox(error)
    }
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// [`Error::Formula`] with the character at which it cannot be understood.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        let mut formula = Self::default();
        // R's left side has nothing to add.
        parser.eat('~');
        let mut minus = parser.eat('-');
        loop {
            parser.term(&mut formula, minus)?;
            minus = match parser.peek() {
                None => break,
                Some('+') => false,
                Some('-') => true,
                Some(_) => return Err(parser.expected("`+`, `-`, `:`, `*` or the end")),
            };
            parser.at += 1;
        }
        Ok(formula)
    }

    fn add(&mut self, term: Term, minus: bool) {
        let list = if minus {
            &mut self.removed
        } else {
            &mut self.terms
        };
        if !list.iter().any(|t| t.same(&term)) {
            list.push(term);
        }
    }

    /// The terms, with `others` in the place of `.`, without those removed, in R's order: by the number of
    /// their factors, and these as they first come in the formula.
    pub(crate) fn expand(self, others: &[String]) -> Vec<Term> {
        let mut terms = self.terms;
        if let Some(at) = self.others {
            let named = terms.clone();
            let new = others.iter().map(|name| Term::plain(name));
            let new: Vec<Term> = new.filter(|t| !named.iter().any(|n| n.same(t))).collect();
            terms.splice(at..at, new);
        }
        let written: Vec<Factor> = terms.iter().flat_map(|Term(t)| t.clone()).collect();
        terms.retain(|term| !self.removed.iter().any(|gone| gone.same(term)));
        for Term(factors) in terms.iter_mut().filter(|Term(t)| t.len() > 1) {
            factors.sort_by_cached_key(|factor| written.iter().position(|f| f == factor));
        }
        terms.sort_by_key(|Term(factors)| factors.len());
        terms
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte.
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next character behind spaces.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expected(&self, what: &str) -> Error {
        Error::Formula {
            formula: self.text.to_owned(),
            character: self.text[..self.at].chars().count(),
            expected: what.to_owned(),
        }
    }

    /// A name, in backticks when it holds other characters than letters, digits, `_` and `.`.
    fn name(&mut self) -> Result<String> {
        if self.eat('`') {
            let Some(end) = self.rest().find('`') else {
                return Err(self.expected("a closing backtick"));
            };
            let name = self.rest()[..end].to_owned();
            self.at += end + 1;
            return Ok(name);
        }
        self.peek();
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let end = self.rest().find(|c| !part(c)).unwrap_or(self.rest().len());
        if end == 0 {
            return Err(self.expected("a column"));
        }
        let name = self.rest()[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    /// Products joined by `*`, a role such as `strata(..)`, or `.`.
    fn term(&mut self, formula: &mut Formula, minus: bool) -> Result<()> {
        let (begin, quoted) = (self.at, self.peek() == Some('`'));
        let name = self.name()?;
        if name == "." && !quoted {
            if minus || formula.others.is_some() {
                self.at = begin;
                return Err(self.expected("`.` once, and not behind a minus sign,"));
            }
            formula.others = Some(formula.terms.len());
            return Ok(());
        }
        let role = !quoted && matches!(name.as_str(), "strata" | "cluster" | "offset");
        if role && self.peek() == Some('(') {
            if minus {
                return Err(self.expected("a feature behind a minus sign"));
            }
            return self.role(formula, &name);
        }
        let mut terms = vec![self.product(name, quoted)?];
        while self.eat('*') {
            let quoted = self.peek() == Some('`');
            let name = self.name()?;
            let next = self.product(name, quoted)?;
            // a * b is a + b + a:b.
            let products: Vec<Term> = terms.iter().map(|term| term.times(&next)).collect();
            terms.push(next);
            terms.extend(products);
        }
        for term in terms {
            formula.add(term, minus);
        }
        Ok(())
    }

    /// Factors joined by `:`, which binds closer than `*`; behind the first name.
    fn product(&mut self, name: String, quoted: bool) -> Result<Term> {
        let mut term = self.factor(name, quoted)?;
        while self.eat(':') {
            let quoted = self.peek() == Some('`');
            let name = self.name()?;
            term = term.times(&self.factor(name, quoted)?);
        }
        Ok(term)
    }

    /// Behind the name of a column or of a function.
    fn factor(&mut self, name: String, quoted: bool) -> Result<Term> {
        let factor = |column, transform| Term(vec![Factor { column, transform }]);
        if quoted || self.peek() != Some('(') {
            return Ok(factor(name, Transform::Identity));
        }
        let function = FUNCTIONS.into_iter().find(|f| *f == name);
        if function.is_none() && !matches!(name.as_str(), "factor" | "rcs") {
            return Err(self.expected(&format!(
                "no function `{name}`, but one of {}, rcs, factor, strata, cluster and offset,",
                FUNCTIONS.join(", ")
            )));
        }
        self.at += 1;
        let column = self.name()?;
        let transform = match (function, name.as_str()) {
            (Some(function), _) => Transform::Function(function),
            (None, "rcs") => Transform::Spline(self.knots()?),
            _ => Transform::Categories,
        };
        self.close()?;
        Ok(factor(column, transform))
    }

    /// Behind the column of `rcs(`: how many knots, or which.
    fn knots(&mut self) -> Result<Vec<f64>> {
        let mut knots = Vec::new();
        while self.eat(',') {
            self.peek();
            let number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
            let end = self
                .rest()
                .find(|c| !number(c))
                .unwrap_or(self.rest().len());
            let Ok(knot) = self.rest()[..end].parse() else {
                return Err(self.expected("a number"));
            };
            self.at += end;
            knots.push(knot);
        }
        let counts = [3.0, 4.0, 5.0, 6.0, 7.0];
        match knots[..] {
            [] => Ok(vec![4.0]),
            [k] if counts.iter().all(|count: &f64| count.total_cmp(&k).is_ne()) => {
                Err(self.expected("3 to 7 knots, or the knots themselves,"))
            }
            _ => Ok(knots),
        }
    }

    fn role(&mut self, formula: &mut Formula, role: &str) -> Result<()> {
        self.at += 1;
        let mut columns = vec![self.name()?];
        while role == "strata" && self.eat(',') {
            columns.push(self.name()?);
        }
        self.close()?;
        let once = match role {
            "strata" => {
                formula.strata.append(&mut columns);
                return Ok(());
            }
            "cluster" => &mut formula.cluster,
            _ => &mut formula.offset,
        };
        match (once.is_some(), columns.pop()) {
            (false, column) => *once = column,
            (true, _) => return Err(self.expected(&format!("{role}(..) once"))),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.eat(')') {
            Ok(())
        } else {
            Err(self.expected("`)`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Roles, Table};

    const CSV: &[u8] = b"t,e,age,bili,sex,arm,centre,id\n\
        5,1,61,1.2,1,a,x,1\n8,0,44,0.5,2,b,y,2\n3,1,59,3.4,1,c,x,3\n\
        9,1,58,0.9,2,a,y,4\n11,1,71,2.2,1,b,x,5\n20,0,52,0.7,2,c,y,6\n";

    fn names(formula: &str) -> Vec<String> {
        let table = Table::from_csv(CSV).unwrap();
        let cohort = Roles::new("t", "e")
            .formula(formula)
            .cohort(&table)
            .unwrap();
        cohort.covariates().unwrap().names()
    }

    fn message(formula: &str) -> String {
        let table = Table::from_csv(CSV).unwrap();
        let roles = Roles::new("t", "e").formula(formula);
        roles.cohort(&table).unwrap_err().to_string()
    }

    #[test]
    fn terms_are_named_and_ordered_as_r_has_them() {
        assert_eq!(names("age + arm"), ["age", "armb", "armc"]);
        assert_eq!(names("~ factor(sex) + log(bili)"), ["sex2", "log(bili)"]);
        assert_eq!(names("age*sex"), ["age", "sex", "age:sex"]);
        assert_eq!(
            names("age*sex*bili"),
            [
                "age",
                "sex",
                "bili",
                "age:sex",
                "age:bili",
                "sex:bili",
                "age:sex:bili"
            ]
        );
        // Main effects come first, and then no level of `arm` has a slope of its own.
        assert_eq!(names("age:arm + age"), ["age", "age:armb", "age:armc"]);
        assert_eq!(names("arm*age - arm"), ["age", "armb:age", "armc:age"]);
        assert_eq!(names("age*sex - age"), ["sex", "age:sex"]);
        assert_eq!(names("age:age + sex*sex"), ["age", "sex"]);
        // `:` binds closer than `*`.
        assert_eq!(names("age*sex:bili"), ["age", "sex:bili", "age:sex:bili"]);
        assert_eq!(names("sex:bili*age"), ["age", "sex:bili", "sex:bili:age"]);
        assert_eq!(names("rcs(age, 3)"), ["age", "age'"]);
        assert_eq!(
            names(". - id - age:sex + age:bili"),
            ["age", "bili", "sex", "age:bili"]
        );
        assert_eq!(names("age + sex:age + age:sex"), ["age", "age:sex"]);
        assert_eq!(names("`age` + sqrt(bili)"), ["age", "sqrt(bili)"]);
    }

    #[test]
    fn products_without_their_margins_have_every_level_as_in_r() {
        assert_eq!(names("age:arm"), ["age:arma", "age:armb", "age:armc"]);
        assert_eq!(
            names("arm*age - age"),
            ["armb", "armc", "arma:age", "armb:age", "armc:age"]
        );
        // Of two categories the last cell, which follows from the others.
        assert_eq!(
            names("age + factor(sex):arm"),
            [
                "age",
                "sex1:arma",
                "sex2:arma",
                "sex1:armb",
                "sex2:armb",
                "sex1:armc"
            ]
        );
        assert_eq!(
            names("bili + rcs(age, 3) + rcs(age, 3):arm:centre").len(),
            13
        );
        assert_eq!(
            names("arm:age + bili:arm:centre").len(),
            9,
            "no margin among either"
        );
        // Another term that holds the rest counts, as in R, where it stands before.
        assert_eq!(
            names("centre:age + age:bili + centre:bili"),
            ["centrex:age", "centrey:age", "age:bili", "centrey:bili"]
        );
        assert_eq!(names("log(bili):arm + log(bili)").len(), 3);
        assert_eq!(names("log(bili):arm + bili").len(), 4);
        let table = Table::from_csv(CSV).unwrap();
        let cohort = Roles::new("t", "e")
            .formula("age:arm")
            .cohort(&table)
            .unwrap();
        let x = cohort.covariates().unwrap();
        assert_eq!(
            [0, 1, 2].map(|j| x.get(0, j).to_bits()),
            [61.0f64, 0.0, 0.0].map(f64::to_bits)
        );
    }

    #[test]
    fn values_are_products_and_functions() {
        let table = Table::from_csv(CSV).unwrap();
        let roles = Roles::new("t", "e").formula("log(bili):arm + age:sex + rcs(age, 45, 55, 65)");
        let cohort = roles.cohort(&table).unwrap();
        let x = cohort.covariates().unwrap();
        assert_eq!(
            x.names(),
            [
                "age",
                "age'",
                "log(bili):arma",
                "log(bili):armb",
                "log(bili):armc",
                "age:sex"
            ]
        );
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-14, "{a} {b}");
        close(x.get(1, 3), 0.5f64.ln());
        close(x.get(2, 3), 0.0);
        close(x.get(2, 4), 3.4f64.ln());
        close(x.get(3, 5), 58.0 * 2.0);
        // ((71-45)^3 - (71-55)^3 * 20/10 + (71-65)^3 * 10/10) / 20^2
        close(x.get(4, 1), (17576.0 - 8192.0 + 216.0) / 400.0);
    }

    #[test]
    fn roles_come_with_the_formula() {
        let table = Table::from_csv(CSV).unwrap();
        let roles =
            Roles::new("t", "e").formula("age + strata(centre, sex) + cluster(id) + offset(bili)");
        let cohort = roles.cohort(&table).unwrap();
        assert_eq!(cohort.covariates().unwrap().names(), ["age"]);
        assert_eq!(
            cohort.surv().stratum_names(),
            ["centre=x, sex=1", "centre=y, sex=2"]
        );
        assert_eq!(cohort.cluster().unwrap().levels().len(), 6);
        assert_eq!(cohort.offset().unwrap()[2].to_bits(), 3.4f64.to_bits());
        let twice = Roles::new("t", "e").formula("age + cluster(id) + offset(bili)");
        let error = |roles: Roles| roles.cohort(&table).unwrap_err().to_string();
        let both = error(twice.clone().cluster("centre"));
        assert!(both.contains("`centre`") && both.contains("`id`"), "{both}");
        let both = error(twice.clone().offset("sex"));
        assert!(both.contains("`sex`") && both.contains("`bili`"), "{both}");
        let same = twice.cluster("id").offset("bili").cohort(&table).unwrap();
        assert_eq!(same.cluster().unwrap().levels().len(), 6);
    }

    #[test]
    fn faults_say_where() {
        assert_eq!(
            message("age + log(bili"),
            "formula `age + log(bili`, character 15: expected `)`"
        );
        assert!(
            message("age + spline(age)").contains("character 13: expected no function `spline`")
        );
        assert!(message("age +").contains("character 6: expected a column"));
        assert!(message("age | sex").contains("character 5: expected `+`"));
        assert!(message("rcs(age, 2)").contains("3 to 7 knots"));
        assert!(message("rcs(age, x)").contains("expected a number"));
        assert!(message("rcs(age, 5, 4, 3)").contains("ascend"));
        assert!(message("`age").contains("closing backtick"));
        assert!(message("agee").contains("did you mean `age`?"));
        assert!(message("log(agee)").contains("did you mean `age`?"));
        assert!(message("log(arm)").contains("`a` is not a number"));
        assert!(message("age + e").contains("cannot be both the event and a feature"));
        assert!(message("age:t").contains("cannot be both the time and a feature"));
        assert!(message("cluster(id) + cluster(id)").contains("cluster(..) once"));
        let table = Table::from_csv(b"t,e,x\n1,1,3\n2,1,0\n3,0,1\n").unwrap();
        let error = Roles::new("t", "e")
            .formula("log(x)")
            .cohort(&table)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "column `x`, row 2 (line 3): 0 has no finite log"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[ae.`:*+()~, \\-0-9ß]{0,24}") {
            let _ = Formula::parse(&text);
        }
    }
}
