"""Pure machines that checkers decide with: grouping of attempts, breaker replay, sagas, multisets, intervals."""
