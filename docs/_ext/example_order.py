"""The order of the gallery: the digits first, in NumPy before the frameworks."""

ORDER = (
    "digits_numpy",
    "digits_torch",
    "digits_jax",
    "digits_sklearn",
    "digits_mpi",
    "trainer_torch",
    "segmentation",
    "language_model_head",
    "preference_optimization",
    "distillation",
    "class_weights",
    "gradient_accumulation",
)


def place(file: str) -> int:
    return ORDER.index(file.removesuffix(".py"))
