"""A benchmark with ground truth: drawn scenes whose deciding pixels are known, and small networks trained on them."""
