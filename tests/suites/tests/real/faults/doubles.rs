//! Two operators by mistake: installed twice, in two namespaces, each with a Lease, a ledger and a pin of its own, so that both lead.
//! (Two that do not ask who leads: suite `generations`. A leader that does not know that another leads: `partition`, `replicas`.)
