package fault

const (
	judge   = "internal/refresh/judge.go"
	tokens  = "internal/grant/tokens.go"
	life    = "internal/sqlstore/life/end.go"
	family  = "internal/sqlstore/life/family.go"
	all     = "internal/sqlstore/life/all.go"
	pg      = "internal/sqlstore/engine/postgres.go"
	revoke  = "internal/revoke/endpoints.go"
	uses    = "internal/revoke/feed.go"
	rotator = "internal/refresh/rotator.go"
)

// Table returns the faults. Each breaks one promise of docs/rotation.md.
func Table() []Fault {
	return append(verdicts(), stores()...)
}

// verdicts are faults in the decision.
func verdicts() []Fault {
	return []Fault{
		{"a replay has a successor of its own", SQLite, []Edit{{
			judge, "	n.Replays++\n", "	n.Replays++\n	n.Generation++\n",
		}}},
		{"there is no overlap", SQLite, []Edit{{
			judge, "case j.within(j.r.Overlap):", "case j.within(0):",
		}}},
		{"time counts in one direction", Postgres, []Edit{{
			judge, "return -d < since && since < d", "return 0 <= since && since < d",
		}}},
		{"attempt keys are ignored", SQLite, []Edit{{
			judge, "case j.s.Attempt != (opaque.Digest{}) && j.s.Attempt == j.f.Attempt:", "case false:",
		}}},
		{"a lost response is taken for theft", SQLite, []Edit{{
			judge, "case j.r.APIsReport && j.f.Confirmed", "case false && j.f.Confirmed",
		}}},
		{"confirmation is ignored", SQLite, []Edit{{
			judge, "case j.r.APIsReport && j.f.Confirmed < j.f.Generation &&", "case j.r.APIsReport &&",
		}}},
		{"a step behind is never counted", SQLite, []Edit{{
			judge, "if n.Shadows >= maxShadows {", "if n.Shadows >= 100*maxShadows {",
		}}},
		{"an ancestor is taken for the parent", SQLite, []Edit{{
			judge, "case s.Generation == f.Generation-1:\n		return j.unboundParent()", "case s.Generation < f.Generation:\n		return j.unboundParent()",
		}}},
		{"theft ends nothing", SQLite, []Edit{{
			judge, "	if j.r.NotifyOnly {\n", "	if j.r.NotifyOnly || j.r.Idle > 0 {\n",
		}}},
		{"what has ended is not looked at", SQLite, []Edit{{
			judge, "case !f.Ended.IsZero():\n", "case !f.Ended.IsZero() && f.Client == \"\":\n",
		}}},
		{"the idle end moves back", SQLite, []Edit{{
			judge,
			"	end := j.now.Add(j.r.Idle)\n	if end.Before(j.f.IdleEnd) {\n		end = j.f.IdleEnd\n	}\n",
			"	end := j.now.Add(j.r.Idle / 2)\n",
		}}},
	}
}

// stores are faults in what keeps the decision, and in what is told about it.
func stores() []Fault {
	return []Fault{
		{"503 is told as invalid_grant", Postgres, []Edit{{
			tokens,
			"	if err != nil {\n		return response{}, err\n	}\n	if res.Changed && !res.State.Ended.IsZero() {",
			"	if err != nil {\n		return response{}, invalidGrant(err)\n	}\n	if res.Changed && !res.State.Ended.IsZero() {",
		}}},
		{"theft is answered before it is stored", SQLite, []Edit{{
			rotator,
			"		if !v.Changed && !waits {\n",
			"		if v.Changed && !v.State.Ended.IsZero() && !waits {\n" +
				"			late := Change{ID: q.id, Version: f.Version, State: v.State, EndSession: v.EndSession, Events: v.Events}\n" +
				"			time.AfterFunc(50*time.Millisecond, func() { _, _ = r.Store.Swap(context.Background(), []Change{late}) })\n" +
				"			finish([]*request{q})\n			continue\n		}\n" +
				"		if !v.Changed && !waits {\n",
		}}},
		{"commits are not durable", Postgres, []Edit{{
			pg,
			"	cfg.RuntimeParams[\"default_transaction_isolation\"] = \"read committed\"\n",
			"	cfg.RuntimeParams[\"default_transaction_isolation\"] = \"read committed\"\n	cfg.RuntimeParams[\"synchronous_commit\"] = \"off\"\n",
		}}},
		{"the feed is told nothing", SQLite, []Edit{{
			life, "	if len(e.entries) == 0 {\n", "	if len(e.entries) >= 0 {\n",
		}}},
		{"reports of use are thrown away", SQLite, []Edit{{
			uses, "u.Core.Confirm(r.Context(), uses)", "u.Core.Confirm(r.Context(), uses[:0])",
		}}},
		{"a revocation is answered and not done", SQLite, []Edit{{
			revoke, "	_, err = h.Core.End(ctx, o)\n	return err\n", "	return nil\n",
		}}},
	}
}
