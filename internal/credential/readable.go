package credential

// ReadableHash reports whether VerifyPassword can compare with an encoded hash: argon2id in PHC form or Django's pbkdf2_sha256, at a sane cost.
// Unusable passwords ("!…") are not readable.
func ReadableHash(encoded string) bool {
	_, known := parseHash(encoded)
	return known
}
