// Package audit owns the security events of the system: their kinds, the
// reason codes for which anything ends, and the evidence that an event holds.
//
// An event is written in the same transaction as the change that it reports,
// so there is never one without the other. Auditing is not logging: events
// have their own table and retention, and never hold a secret.
package audit

import "time"

// Reason says why a session, a family or a token ended. Every end has exactly
// one.
type Reason string

// The reason codes.
const (
	Logout            Reason = "logout"
	RPLogout          Reason = "rp_logout"
	BackchannelLogout Reason = "backchannel_logout"
	RevokedByUser     Reason = "revoked_by_user"
	RevokedByAdmin    Reason = "revoked_by_admin"
	RevokedByClient   Reason = "revoked_by_client"
	TokenTheft        Reason = "token_theft"
	SessionReplaced   Reason = "session_replaced"
	IdleTimeout       Reason = "idle_timeout"
	AbsoluteTimeout   Reason = "absolute_timeout"
	PasswordChanged   Reason = "password_changed"
	FactorReset       Reason = "factor_reset"
	UserDisabled      Reason = "user_disabled"
	UserDeleted       Reason = "user_deleted"
	ClientDisabled    Reason = "client_disabled"
	KeyRevoked        Reason = "key_revoked"
	Epoch             Reason = "epoch"
)

// Kind says what happened.
type Kind string

// The kinds of events.
const (
	SessionBegun   Kind = "session_begun"
	SessionRenewed Kind = "session_renewed" // the person proved again who they are
	SessionEnded   Kind = "session_ended"
	FamilyBegun    Kind = "family_begun"
	FamilyEnded    Kind = "family_ended"
	Theft          Kind = "theft"       // a refresh token or code was copied; what it led to has ended
	ForeignKey     Kind = "foreign_key" // a bound refresh token was shown with another key; the family lives on
	Replay         Kind = "replay"      // an old refresh token was shown in a way that is unusual but allowed
	Unbound        Kind = "unbound"     // tokens were issued to a client without a proof that it will have to show
	SignInFailed   Kind = "sign_in_failed"
	SignInLimited  Kind = "sign_in_limited"
	AccountChanged Kind = "account_changed"
	ClientChanged  Kind = "client_changed"
	ConsentGiven   Kind = "consent_given"
	ConsentEnded   Kind = "consent_ended"
	KeyRotated     Kind = "key_rotated"
	KeyRevokedKind Kind = "key_revoked"
	TokenRevoked   Kind = "token_revoked"
	HistoryLost    Kind = "history_lost" // the database lacks what it had committed
	Restored       Kind = "restored"     // a restore was finished: all that was issued before has ended
)

// Kinds returns all kinds there are.
func Kinds() []Kind {
	return []Kind{
		SessionBegun, SessionRenewed, SessionEnded, FamilyBegun, FamilyEnded, Theft, ForeignKey, Replay, Unbound,
		SignInFailed, SignInLimited, AccountChanged, ClientChanged, ConsentGiven, ConsentEnded, KeyRotated, KeyRevokedKind,
		TokenRevoked, HistoryLost, Restored,
	}
}

// An Event is one security event. Unknown parts are left empty.
type Event struct {
	// Number is that of the record, which nobody chooses; 0 where it does not
	// matter.
	Number  int64
	Time    time.Time
	Kind    Kind
	Reason  Reason
	Subject string
	Session string
	Family  string
	Client  string
	// Note is a constant text of ours or a value that is safe to show.
	Note string
	// Parties are those who were seen with the same credential, the rightful
	// or earlier one first.
	Parties []Party
}

// A Party is one side of an event: from where, with what, when.
type Party struct {
	Time       time.Time `json:"time"`
	Network    string    `json:"network,omitempty"` // client address
	Agent      string    `json:"agent,omitempty"`   // User-Agent, shortened
	Key        string    `json:"key,omitempty"`     // thumbprint of the proof key
	Generation int64     `json:"generation,omitempty"`
}
