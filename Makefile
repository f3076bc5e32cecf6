.PHONY: check format lint test audit build

check: lint test ## what is run on each change

format: ## mend the formatting
	git ls-files -co --exclude-standard '*.go' | xargs go tool gofumpt -w

lint: ## format, vet, staticcheck, shellcheck, actionlint
	./scripts/lint.sh

test: ## every test, with the race detector, on SQLite and PostgreSQL
	./scripts/test.sh

audit: ## security: our code (gosec) and what we depend on (govulncheck); reports/security.txt
	./scripts/audit.sh

build: ## bin/openway, static
	CGO_ENABLED=0 go build -trimpath -o bin/openway ./cmd/openway
