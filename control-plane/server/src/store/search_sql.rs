//! A search as SQL, the same for every database but for a few words.
//!
//! A page is read along one index: that of the filter which is likely to leave the fewest calls, one walk for each of its
//! values, in the order of the page. What the walks find is put together and cut to the size of the page; the other filters
//! are checked on the way. So a page costs about as much as it holds, however many calls there are. Only filters that each
//! fit many calls and together hardly any have it look at more: all calls of the index that is walked, in the time asked for.

use sqlx::{Database, Encode, QueryBuilder, Type};
use voicebridge_core::identity::{PhoneNumber, UserId};

use super::search::{CallFilter, CallOrder, CallState, CallerKey, Search};

/// Where databases differ.
pub(super) trait Dialect: Database {
    /// A call's row with its labels, as JSON.
    const CALL: &'static str;

    /// Has a table read along this index, where that is said and not judged from statistics.
    fn along(index: &str) -> String;
}

impl Dialect for sqlx::Sqlite {
    const CALL: &'static str =
        "calls.*, (SELECT json_group_object(name, value) FROM labels WHERE labels.ordinal = calls.ordinal) AS labels";

    // Without statistics of its own it takes any index that fits.
    fn along(index: &str) -> String {
        format!("INDEXED BY {index}")
    }
}

impl Dialect for sqlx::Postgres {
    const CALL: &'static str = "calls.*, (SELECT json_object_agg(name, value)::text FROM labels WHERE labels.ordinal = calls.ordinal) AS labels";

    fn along(_index: &str) -> String {
        String::new()
    }
}

/// What one walk goes along.
#[derive(Clone, Copy)]
enum Walk<'a> {
    Time,
    Live,
    Phone(&'a str),
    User(&'a str),
    Label(&'a str, &'a str),
    Node(&'a str),
    Reason(&'a str),
    Number(&'a str),
    Result(&'a str),
}

impl<'a> Walk<'a> {
    /// All walks of a search: the first filter of these that is given, from rare to common.
    fn all(filter: &'a CallFilter) -> Vec<Self> {
        let CallFilter {
            from_ms: _,
            before_ms: _,
            phone_number_ids,
            callers,
            node_ids,
            results,
            reasons,
            labels,
            state,
        } = filter;
        if *state == Some(CallState::Live) {
            vec![Walk::Live]
        } else if !callers.is_empty() {
            let walk = |caller: &'a CallerKey| match caller {
                CallerKey::Phone(number) => Walk::Phone(number.digits()),
                CallerKey::User(id) => Walk::User(id.as_str()),
            };
            callers.iter().map(walk).collect()
        } else if let Some((name, value)) = labels.iter().next() {
            vec![Walk::Label(name, value)]
        } else if !node_ids.is_empty() {
            node_ids.iter().map(|id| Walk::Node(id)).collect()
        } else if !reasons.is_empty() {
            reasons.iter().map(|reason| Walk::Reason(reason)).collect()
        } else if !phone_number_ids.is_empty() {
            phone_number_ids.iter().map(|id| Walk::Number(id)).collect()
        } else if !results.is_empty() {
            results.iter().map(|result| Walk::Result(result.word())).collect()
        } else {
            vec![Walk::Time]
        }
    }

    const fn index(self) -> &'static str {
        match self {
            Self::Time => "calls_by_time",
            Self::Live => "calls_live_by_time",
            Self::Phone(_) => "calls_by_caller_phone",
            Self::User(_) => "calls_by_caller_user_id",
            Self::Label(..) => "labels_by_value",
            Self::Node(_) => "calls_by_node",
            Self::Reason(_) => "calls_by_reason",
            Self::Number(_) => "calls_by_number",
            Self::Result(_) => "calls_by_result",
        }
    }

    /// The table it reads first, which has the time and the ordinal.
    const fn table(self) -> &'static str {
        match self {
            Self::Label(..) => "labels",
            _ => "calls",
        }
    }

    /// Its column, and the value wanted in it.
    const fn column(self) -> Option<(&'static str, &'a str)> {
        match self {
            Self::Time | Self::Live | Self::Label(..) => None,
            Self::Phone(value) => Some(("caller_phone", value)),
            Self::User(value) => Some(("caller_user_id", value)),
            Self::Node(value) => Some(("node_id", value)),
            Self::Reason(value) => Some(("reason", value)),
            Self::Number(value) => Some(("phone_number_id", value)),
            Self::Result(value) => Some(("result", value)),
        }
    }
}

/// The question for the calls of a page; `before` it anything that goes before a SELECT.
pub(super) fn page<DB>(before: &str, search: &Search) -> QueryBuilder<DB>
where
    DB: Dialect,
    DB::Arguments: Default,
    String: for<'t> Encode<'t, DB> + Type<DB>,
    i64: for<'t> Encode<'t, DB> + Type<DB>,
{
    let direction = match search.order {
        CallOrder::NewestFirst => "DESC",
        CallOrder::OldestFirst => "ASC",
    };
    let mut sql = QueryBuilder::new(format!("{before}WITH found AS ("));
    for (number, walk) in Walk::all(&search.filter).into_iter().enumerate() {
        let union = if number == 0 { "" } else { " UNION " };
        let (along, table) = (DB::along(walk.index()), walk.table());
        sql.push(format!("{union}SELECT * FROM (SELECT {table}.received_at_ms, {table}.ordinal FROM {table} {along}"));
        sql.push(match walk {
            Walk::Label(..) => " CROSS JOIN calls WHERE calls.ordinal = labels.ordinal",
            _ => " WHERE TRUE",
        });
        conditions(&mut sql, search, walk);
        sql.push(format!(" ORDER BY {table}.received_at_ms {direction}, {table}.ordinal {direction} LIMIT "));
        sql.push_bind(i64::from(search.size)).push(format!(") AS walk_{number}"));
    }
    sql.push(format!(
        "), page AS (SELECT ordinal AS wanted FROM found ORDER BY received_at_ms {direction}, ordinal {direction} LIMIT "
    ));
    sql.push_bind(i64::from(search.size));
    sql.push(format!(") SELECT {} FROM page CROSS JOIN calls WHERE calls.ordinal = page.wanted", DB::CALL));
    sql.push(format!(" ORDER BY calls.received_at_ms {direction}, calls.ordinal {direction}"));
    sql
}

/// What must be true of a call that a walk passes.
fn conditions<DB>(sql: &mut QueryBuilder<DB>, search: &Search, walk: Walk<'_>)
where
    DB: Dialect,
    String: for<'t> Encode<'t, DB> + Type<DB>,
    i64: for<'t> Encode<'t, DB> + Type<DB>,
{
    if let Some((column, value)) = walk.column() {
        sql.push(format!(" AND {column} = ")).push_bind(value.to_owned());
    }
    if let Walk::Label(name, value) = walk {
        sql.push(" AND labels.name = ").push_bind(name.to_owned());
        sql.push(" AND labels.value = ").push_bind(value.to_owned());
    }
    time(sql, search, walk.table());
    let filter = &search.filter;
    let is_of_ended =
        filter.state == Some(CallState::Ended) || !filter.results.is_empty() || !filter.reasons.is_empty();
    if filter.state == Some(CallState::Live) {
        sql.push(" AND ended_at_ms IS NULL");
    }
    if is_of_ended {
        sql.push(" AND ended_at_ms IS NOT NULL");
    }
    if !matches!(walk, Walk::Phone(_) | Walk::User(_)) {
        callers(sql, &filter.callers);
    }
    if !matches!(walk, Walk::Node(_)) {
        one_of(sql, "node_id", filter.node_ids.iter().map(String::as_str));
    }
    if !matches!(walk, Walk::Reason(_)) {
        one_of(sql, "reason", filter.reasons.iter().map(String::as_str));
    }
    if !matches!(walk, Walk::Number(_)) {
        one_of(sql, "phone_number_id", filter.phone_number_ids.iter().map(String::as_str));
    }
    if !matches!(walk, Walk::Result(_)) {
        one_of(sql, "result", filter.results.iter().map(|result| result.word()));
    }
    let walked = usize::from(matches!(walk, Walk::Label(..)));
    for (name, value) in filter.labels.iter().skip(walked) {
        sql.push(" AND EXISTS (SELECT 1 FROM labels AS other WHERE other.ordinal = calls.ordinal AND other.name = ");
        sql.push_bind(name.to_owned()).push(" AND other.value = ").push_bind(value.to_owned()).push(")");
    }
}

/// At most one bound on each side, for an index is entered by one.
fn time<DB>(sql: &mut QueryBuilder<DB>, search: &Search, table: &str)
where
    DB: Dialect,
    i64: for<'t> Encode<'t, DB> + Type<DB>,
{
    let CallFilter { from_ms, before_ms, .. } = search.filter;
    let (mut least, mut most) = (from_ms, before_ms.map(|before| before.saturating_sub(1)));
    if let Some(after) = search.after {
        let at = after.received_at_ms;
        match search.order {
            CallOrder::NewestFirst => most = Some(most.map_or(at, |most| most.min(at))),
            CallOrder::OldestFirst => least = Some(least.map_or(at, |least| least.max(at))),
        }
        let past = if search.order == CallOrder::NewestFirst { "<" } else { ">" };
        sql.push(format!(" AND ({table}.received_at_ms <> ")).push_bind(at);
        sql.push(format!(" OR {table}.ordinal {past} ")).push_bind(after.ordinal).push(")");
    }
    if let Some(least) = least {
        sql.push(format!(" AND {table}.received_at_ms >= ")).push_bind(least);
    }
    if let Some(most) = most {
        sql.push(format!(" AND {table}.received_at_ms <= ")).push_bind(most);
    }
}

fn callers<DB>(sql: &mut QueryBuilder<DB>, callers: &[CallerKey])
where
    DB: Dialect,
    String: for<'t> Encode<'t, DB> + Type<DB>,
{
    if callers.is_empty() {
        return;
    }
    sql.push(" AND (FALSE");
    for caller in callers {
        match caller {
            CallerKey::Phone(number) => {
                sql.push(" OR caller_phone = ").push_bind(PhoneNumber::digits(number).to_owned())
            }
            CallerKey::User(id) => sql.push(" OR caller_user_id = ").push_bind(UserId::as_str(id).to_owned()),
        };
    }
    sql.push(")");
}

fn one_of<'a, DB>(sql: &mut QueryBuilder<DB>, column: &str, values: impl ExactSizeIterator<Item = &'a str>)
where
    DB: Dialect,
    String: for<'t> Encode<'t, DB> + Type<DB>,
{
    if values.len() == 0 {
        return;
    }
    sql.push(format!(" AND {column} IN ("));
    for (number, value) in values.enumerate() {
        sql.push(if number == 0 { "" } else { ", " }).push_bind(value.to_owned());
    }
    sql.push(")");
}
