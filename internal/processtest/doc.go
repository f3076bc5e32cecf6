// Package processtest gives tests what runs outside of them: the real openway binary, as it stands in the repository or with a line of its
// source altered, PostgreSQL servers of their own that may be killed, stalled and promoted, and a wire to cut between the two.
//
// It is for tests only and imports nothing of this module: what it starts is what people run. It never skips: what cannot be
// started fails the test and says why. A test package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(processtest.Main(m)) }
package processtest
