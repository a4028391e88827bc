package demo

import "time"

// users are those who can sign in. Their passwords are for everybody to know.
func users() []User {
	return []User{{"ada", "ada-shows-the-demo"}, {"bob", "bob-shows-the-demo"}}
}

// claims returns the standard claims of a user (OpenID Connect Core, section
// 5.1): all of them for ada, a few for bob.
func claims(username string, now time.Time) map[string]any {
	if username != "ada" {
		return map[string]any{
			"name": "Bob Example", "given_name": "Bob", "family_name": "Example", "preferred_username": "bob",
			"email": "bob@example.com", "email_verified": false, "updated_at": now.Unix(),
		}
	}
	return map[string]any{
		"name": "Ada Example", "given_name": "Ada", "middle_name": "May", "family_name": "Example", "nickname": "Addie",
		"preferred_username": "ada", "gender": "female", "birthdate": "1990-12-10",
		"profile": "https://ada.example.com/", "website": "https://ada.example.com/blog", "picture": "https://ada.example.com/picture.png",
		"zoneinfo": "Europe/London", "locale": "en-GB", "updated_at": now.Unix(),
		"email": "ada@example.com", "email_verified": true,
		"phone_number": "+44 20 7946 0018", "phone_number_verified": true, // from the range kept for fiction
		"address": map[string]any{
			"formatted":      "12 Example Street\nLondon\nN1 1AA\nUnited Kingdom",
			"street_address": "12 Example Street", "locality": "London", "region": "Greater London",
			"postal_code": "N1 1AA", "country": "United Kingdom",
		},
	}
}
