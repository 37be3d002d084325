"""Networks as users write them, with all that Keras lets a layer do."""

import tensorflow as tf

keras = tf.keras


@keras.utils.register_keras_serializable(package="tests")
class OwnNetwork(keras.Model):
    """Subclassed, its layers made at the first call: batch normalization, dropout, a regularizer and add_loss."""

    def __init__(self, outputs, width=6, rate=0.2, l2=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.outputs, self.width, self.rate, self.l2 = outputs, width, rate, l2
        self.normalization, self.dropout = keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dropout(rate)
        self.hidden = None

    def build(self, input_shape):
        self.hidden = keras.layers.Dense(self.width, "tanh", kernel_regularizer=keras.regularizers.L2(self.l2))
        self.out = keras.layers.Dense(self.outputs)

    def call(self, x, training=None):
        h = self.hidden(x)
        self.add_loss(1e-3 * tf.reduce_mean(tf.square(h)))
        return self.out(self.dropout(self.normalization(h, training=training), training=training))

    def get_config(self):
        return {"outputs": self.outputs, "width": self.width, "rate": self.rate, "l2": self.l2}


@keras.utils.register_keras_serializable(package="tests")
class WatchedNetwork(keras.layers.Layer):
    """With metrics: one of `add_metric`, the mean of its inputs, one of an attribute, the number of its examples, and
    one while it trains alone."""

    def __init__(self, outputs, **kwargs):
        super().__init__(**kwargs)
        self.outputs, self.out = outputs, keras.layers.Dense(outputs)
        self.examples = keras.metrics.Sum("examples")

    def call(self, x, training=None):
        self.add_metric(tf.reduce_mean(x), name="input_mean")
        self.examples.update_state(tf.ones(tf.shape(x)[0]))
        if training:
            self.add_metric(tf.constant(3.0), name="drop")
        return self.out(x)

    def get_config(self):
        return {"outputs": self.outputs}


@keras.utils.register_keras_serializable(package="tests")
class NoisyLayer(keras.layers.Layer):
    """Adds noise while it trains, of a generator whose state checkpoints hold."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.random = tf.random.Generator.from_seed(3)

    def call(self, x, training=None):
        return x + self.random.normal(tf.shape(x)) if training else x


def sequential(inputs, outputs):
    """No input shape; dropout and batch normalization get `training` from the model around them."""
    return keras.Sequential(
        [keras.layers.Dense(6, "tanh"), keras.layers.BatchNormalization(), keras.layers.Dense(outputs)]
    )


def functional(inputs, outputs):
    """With operators of TensorFlow between the layers."""
    x = keras.Input((inputs,))
    h = tf.nn.relu(keras.layers.Dense(6)(x)) * 0.5 + 1.0
    return keras.Model(x, keras.layers.Dense(outputs)(keras.layers.Dropout(0.1)(h)))


def subclassed(inputs, outputs):
    return OwnNetwork(outputs)


NETWORKS = {"sequential": sequential, "functional": functional, "subclassed": subclassed}
