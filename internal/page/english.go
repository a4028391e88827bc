package page

import (
	"fmt"
	"time"
)

func english() *texts {
	return &texts{
		lang: "en", dir: "ltr",

		signIn:       "Sign in",
		signInTo:     "to continue to {name}",
		reauth:       "Confirm it’s you",
		reauthLead:   "Please enter your password again to continue.",
		reauthFor:    "{name} asks you to enter your password again.",
		username:     "Username",
		password:     "Password",
		remember:     "Keep me signed in",
		rememberHint: "Only on a device that is yours.",
		cancel:       "Cancel",
		cancelTo:     "Cancel and go back to {name}",
		credentials:  "The username or password is not right. Please try again.",
		missing:      "Please enter your username and your password.",
		limited:      englishLimited,
		expired:      "This page was open for a long time. Please sign in again.",
		fault:        "We could not check your password right now. Nothing is wrong with it; please try again in a moment.",

		consent:      "Allow {name} to use your account?",
		consentTitle: "Allow access?",
		consentLead:  "It will be able to:",
		signedInAs:   "Signed in as {name}",
		otherUser:    "Use another account",
		scopes: map[string][2]string{
			"openid":         {"Know who you are", "Your account number here, nothing more."},
			"profile":        {"See your profile", "Your name and similar details."},
			"email":          {"See your email address", ""},
			"address":        {"See your postal address", ""},
			"phone":          {"See your phone number", ""},
			"offline_access": {"Stay connected", "Also when you are not using it, until you take this back."},
		},
		otherScope: "Use this permission of the service:",
		appID:      "App ID",
		answersTo:  "Sends you on to",
		allow:      "Allow",
		deny:       "Don’t allow",

		selectAccount:   "Choose an account",
		selectAccountTo: "to continue to {name}",
		continueAs:      "Continue as {name}",

		signOut:       "Sign out?",
		signOutButton: "Sign out",
		signOutLead:   "This signs you out here and in the apps that you use with this account in this browser.",
		signOutAsked:  "{name} asks to sign you out.",
		stay:          "Stay signed in",
		stayClose:     "To stay signed in, close this page.",
		signedOut:     "You are signed out",
		signedOutLead: "It is safe to close this page.",
		backTo:        "Back to {name}",
		signInAgain:   "Sign in again",
		signedIn:      "You are signed in",
		signedInLead:  "You can close this page, or open the app that you want to use.",
		formPost:      "One moment",
		formPostLead:  "You are on your way back to the app. If nothing happens, go on yourself.",
		goOn:          "Continue",

		errors: map[Problem][2]string{
			NoProblem:          {"Something went wrong", "Please try again in a moment."},
			ProblemCredentials: {"That did not match", "The username or password is not right."},
			ProblemLimited:     {"Too many attempts", "Please wait a little, then try again."},
			ProblemExpired:     {"This page is too old", "Please go back to the app and start again."},
			ProblemMissing:     {"Something is missing", "Please go back and fill in all fields."},
			ProblemFault:       {"This does not work right now", "It is not your fault, and you are not signed out. Please try again in a moment."},
			ProblemRequest:     {"This request is not valid", "The app that sent you here made a mistake. Please tell the people who run it."},
			ProblemClient:      {"We do not know this app", "We cannot tell who sent you here, so we do not send you back. Please start again from the app itself."},
			ProblemForbidden:   {"This did not come from our page", "Another website tried to send this form for you, or your browser hides where it came from. Nothing was done."},
			ProblemNotFound:    {"There is no such page", "The address may be mistyped or out of date."},
		},
		details:   "For developers",
		requestID: "Request",
		tryAgain:  "Try again",
		toSignIn:  "Go to the sign-in page",
	}
}

func englishLimited(wait time.Duration) string {
	const text = "Too many attempts. Please try again in %s."
	switch s := int((wait + time.Second - 1) / time.Second); {
	case s <= 1:
		return "Too many attempts. Please try again in a moment."
	case s < 90:
		return fmt.Sprintf(text, fmt.Sprintf("%d seconds", s))
	case s < 90*60:
		return fmt.Sprintf(text, fmt.Sprintf("%d minutes", (s+59)/60))
	case s < 48*3600:
		return fmt.Sprintf(text, fmt.Sprintf("%d hours", (s+3599)/3600))
	default:
		return "Too many attempts. Please sign in on a device where you signed in before, or ask the people who run this service."
	}
}
