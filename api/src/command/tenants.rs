//! Quotas of tenants, set and shown at the command line.

use broker::quota::{Kind, Quota, Quotas};
use broker::topic::Tenant;

use super::parse::TenantErrand;
use super::table::table;
use super::{Failed, print, with_redis};

/// Does it, and prints what holds then.
pub(super) fn run(errand: TenantErrand) -> Result<(), Failed> {
    with_redis(async |redis, keys| attend(errand, &Quotas::new(redis, keys)).await)
}

async fn attend(errand: TenantErrand, quotas: &Quotas) -> Result<(), Failed> {
    let rows = match errand {
        TenantErrand::Set { tenant, changes } => {
            let quota = quotas.set(&tenant, &changes).await?;
            vec![(tenant, quota)]
        }
        TenantErrand::Show { tenant } => {
            let quota = quotas.read(&tenant).await?;
            vec![(tenant, quota)]
        }
        TenantErrand::List => quotas.list().await?,
    };
    print(&shown(&rows))
}

/// A row for each tenant.
fn shown(rows: &[(Tenant, Quota)]) -> String {
    let mut lines = vec![["TENANT", "SOCKETS", "PUSHES", "PENDING", "PAYLOAD"].map(str::to_owned)];
    lines.extend(rows.iter().map(|(tenant, quota)| {
        let limit = |kind| quota.limit(kind).map_or("-".to_owned(), |n| n.to_string());
        let [sockets, pushes, pending, payload] = Kind::EVERY.map(limit);
        [tenant.to_string(), sockets, pushes, pending, payload]
    }));
    table(&lines)
}
