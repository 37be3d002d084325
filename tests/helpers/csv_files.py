"""CSV files as users have them."""


def written(folder, content, name="own.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
