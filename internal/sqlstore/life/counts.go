package life

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastbind/fastbind/internal/refresh"
	"github.com/fastbind/fastbind/internal/revoke"
	"github.com/fastbind/fastbind/internal/sqlstore/engine"
)

// An Asked is a question whether a token counts, and the time it is about.
type Asked struct {
	revoke.Question
	now time.Time
}

// answerTime bounds one statement with questions: what follows waits for it, and
// a connection that is dead must not hold up all of them for long.
const answerTime = 2 * time.Second

// Asking returns what shares questions to db.
func Asking(db *engine.DB) *engine.Shared[Asked, bool] {
	return &engine.Shared[Asked, bool]{Do: Revocations{DB: db}.countAll, Within: answerTime}
}

// counts answers a row q with its number and, in this order: the state of the
// family (0 gone, 1 lives, 2 lives whatever becomes of the session), that of the
// session (0 gone, 1 past its idle end, 2 lives), and whether the feed names the
// token otherwise. An entry for a family or session is never without the row
// saying the same.
const counts = `select q.n,
	coalesce((select case when ended <> 0 or idle_end <= q.now or absolute_end <= q.now then 0 when offline then 2 else 1 end
		from family where id = q.family), 0),
	coalesce((select case when ended <> 0 or absolute_end <= q.now then 0 when idle_end <= q.now then 1 else 2 end
		from session where id = q.session), 0),
	case when exists (select 1 from feed where kind = 'jti' and value = q.token and until >= q.now)
		or exists (select 1 from feed where kind = 'sub' and value = q.subject and before >= q.issued and until >= q.now)
		or exists (select 1 from feed where kind = 'client' and value = q.client and before >= q.issued and until >= q.now)
		or exists (select 1 from feed where kind = 'jkt' and value = q.device and until >= q.now)
		or exists (select 1 from feed where kind = 'kid' and value = q.signer and until >= q.now)
		or exists (select 1 from feed where kind = 'epoch' and before >= q.issued and until >= q.now)
		then 1 else 0 end from `

const (
	countsOne = counts + `(select 0 as n, $1 as family, $2 as session, $3 as token, $4 as subject, $5 as client, $6 as signer,
		$7 as device, $8 as issued, $9 as now) as q`
	countsAll = counts + `unnest($1::bigint[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
		$9::bigint[], $10::bigint[]) as q(n, family, session, token, subject, client, signer, device, issued, now)`
)

// Counts is for revoke.Store. What the question leaves empty is not asked for.
// A family with offline access counts without its session; the idle end of a
// session matters only to tokens without a family. Concurrent calls share
// statements where the database takes many questions in one; each is answered
// from what is stored after it was asked.
func (s Revocations) Counts(ctx context.Context, q revoke.Question, now time.Time) (ok bool, err error) {
	a := Asked{q, now}
	if s.Dialect.Arrays {
		ok, err = s.Asked.Call(ctx, a)
	} else {
		ok, err = s.count(ctx, a)
	}
	if err != nil {
		return false, fmt.Errorf("ask whether token counts: %w", err)
	}
	return ok, nil
}

func (s Revocations) count(ctx context.Context, a Asked) (bool, error) {
	answer, err := engine.One(ctx, s.Reader, scanAnswer, countsOne, FamilyBytes(refresh.FamilyID(a.Family)), a.Session, a.Token,
		a.Subject, a.Client, a.Key, a.Device, engine.Unix(a.Issued), engine.Unix(a.now))
	return err == nil && answer.good(a.Question), err
}

func (s Revocations) countAll(ctx context.Context, batch []Asked) ([]bool, error) {
	n := len(batch)
	families := make([][]byte, n)
	var texts [6][]string
	for k := range texts {
		texts[k] = make([]string, n)
	}
	var numbers [3][]int64
	for k := range numbers {
		numbers[k] = make([]int64, n)
	}
	for i, a := range batch {
		families[i] = FamilyBytes(refresh.FamilyID(a.Family))
		for k, v := range [len(texts)]string{a.Session, a.Token, a.Subject, a.Client, a.Key, a.Device} {
			texts[k][i] = v
		}
		for k, v := range [len(numbers)]int64{int64(i), engine.Unix(a.Issued), engine.Unix(a.now)} {
			numbers[k][i] = v
		}
	}
	answers, err := engine.List(ctx, s.Reader, scanAnswer, countsAll, numbers[0], families,
		texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], numbers[1], numbers[2])
	if err == nil && len(answers) != n {
		err = errors.New("not as many answers as questions") // a token that nobody answered for has not ended
	}
	if err != nil {
		return nil, err
	}
	good := make([]bool, n)
	for _, a := range answers {
		good[a.n] = a.good(batch[a.n].Question)
	}
	return good, nil
}

// An answer is a row of counts.
type answer struct{ n, family, session, named int64 }

func scanAnswer(r engine.Row) (a answer, err error) {
	err = r.Scan(&a.n, &a.family, &a.session, &a.named)
	return a, err
}

func (a answer) good(q revoke.Question) bool {
	family := q.Family == "" || a.family > 0
	session := q.Session == "" || a.family == 2 || a.session == 2 || a.session == 1 && a.family == 1
	return family && session && a.named == 0
}
