"""Operations as compiled kernels: the same rules as their NumPy twins, fused and vectorised."""
