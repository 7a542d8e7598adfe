static const at::Tensor points, features, mask;
