// Package drill holds the service to its promises while things break: real openway processes are asked by many clients at once while rights are
// taken away, servers and databases are killed, connections are cut and disks stall. It has no code, only tests.
//
// In the test run they are short. ./scripts/drill.sh makes them long, by OPENWAY_TEST_DRILL=long, and runs those that need a machine of
// their own or its root user as well (build tag drill). docs/guarantees.md says what is promised.
package drill
