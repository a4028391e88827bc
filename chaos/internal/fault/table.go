package fault

import "slices"

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
	proof   = "internal/proof/proof.go"
	token   = "internal/grant/grant.go"
)

// Table returns the faults. Each breaks one promise of docs/rotation.md.
func Table() []Fault {
	return slices.Concat(verdicts(), stores(), proofs())
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
		{"a swap does not look at the version", Postgres, []Edit{
			{all, "f.id = c.id and f.version = c.version and", "f.id = c.id and"},
			{family, "where id = $1 and version = $2 and ended = 0", "where id = $1 and $2 > 0 and ended = 0"},
		}},
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
			life, "	if len(e.entries) == 0 && e.leap == 0 {\n", "	if e.leap == 0 {\n",
		}}},
		{"reports of use are thrown away", SQLite, []Edit{{
			uses, "u.Core.Confirm(r.Context(), uses)", "u.Core.Confirm(r.Context(), uses[:0])",
		}}},
		{"a revocation is answered and not done", SQLite, []Edit{{
			revoke, "	_, err = h.Core.End(ctx, o)\n	return err\n", "	return nil\n",
		}}},
	}
}

// proofs are faults about the key.
func proofs() []Fault {
	return []Fault{
		{"any key is the right one", SQLite, []Edit{{
			judge, "case f.Bound() && s.Key != f.Key &&", "case f.Bound() && s.Key == \"\" &&",
		}, {
			judge, "case f.Bound() && s.Key == f.Key:", "case f.Bound():",
		}}},
		{"a bound family is given to who shows no key", SQLite, []Edit{{
			judge, "case f.Bound() && s.Key != f.Key && (s.Key == \"\" || !r.AnyKey):", "case f.Bound() && s.Key != f.Key && s.Key != \"\" && !r.AnyKey:",
		}}},
		{"a proof is taken again", SQLite, []Edit{{
			proof, "	if !first {\n", "	if !first && s.Key == \"\" {\n",
		}}},
		{"a code is used up before a nonce is asked for", SQLite, []Edit{{
			token,
			"	if q.proof, err = h.Proofs.Check(r, proof.Target{Path: Path}, now); err != nil {\n",
			"	if q.proof, err = h.Proofs.Check(r, proof.Target{Path: Path}, now); err != nil {\n" +
				"		if handle, bad := opaque.Parse(opaque.Code, q.Get(\"code\")); bad == nil {\n" +
				"			if c, bad := h.Codes.Load(r.Context(), handle.Digest()); bad == nil {\n" +
				"				_ = h.Codes.Redeem(r.Context(), c.Digest, now, q.family(c))\n" +
				"			}\n		}\n",
		}}},
	}
}
