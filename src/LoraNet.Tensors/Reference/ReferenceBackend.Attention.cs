namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void Attention(in AttentionOperands operands)
    {
        AttentionLayout layout = operands.Layout;
        int m = layout.Queries, heads = operands.Heads;
        int d = HeadSize(operands);
        double[] q = Elements.Read(operands.Query), k = Elements.Read(operands.Key), v = Elements.Read(operands.Value);
        double[] o = new double[operands.Output.Count], logSumExp = new double[operands.LogSumExp.Count];
        for (int i = 0; i < m; i++)
        {
            for (int h = 0; h < heads; h++)
            {
                long query = ((long)i * heads + h) * d;
                int start = layout.KeyStart[i], end = layout.KeyEnd[i];
                if (start >= end)
                {
                    logSumExp[(long)i * heads + h] = double.NegativeInfinity;
                    continue;
                }
                double[] scores = new double[end - start];
                double maximum = double.NegativeInfinity;
                for (int j = start; j < end; j++)
                {
                    (scores[j - start], _) = Score(operands, q, query, k, KeyOffset(operands, j, h, d), d);
                    maximum = Math.Max(maximum, scores[j - start]);
                }
                double sum = 0;
                foreach (double score in scores) sum += Math.Exp(score - maximum);
                logSumExp[(long)i * heads + h] = maximum + Math.Log(sum);
                for (int j = start; j < end; j++)
                {
                    double probability = Math.Exp(scores[j - start] - maximum) / sum;
                    long key = KeyOffset(operands, j, h, d);
                    for (int e = 0; e < d; e++) o[query + e] += probability * v[key + e];
                }
            }
        }
        Elements.Write(o, operands.Output);
        Elements.Write(logSumExp, operands.LogSumExp);
    }

    /// <inheritdoc/>
    public override void AttentionBackward(in AttentionOperands operands, Tensor dOutput, Tensor dQuery, Tensor dKey, Tensor dValue)
    {
        AttentionLayout layout = operands.Layout;
        int m = layout.Queries, heads = operands.Heads;
        int d = HeadSize(operands);
        Require.Same(dOutput, operands.Output);
        Require.Same(dQuery, operands.Query);
        Require.Same(dKey, operands.Key);
        Require.Same(dValue, operands.Value);
        double[] q = Elements.Read(operands.Query), k = Elements.Read(operands.Key), v = Elements.Read(operands.Value);
        double[] o = Elements.Read(operands.Output), logSumExp = Elements.Read(operands.LogSumExp), dO = Elements.Read(dOutput);
        double[] dq = new double[q.LongLength], dk = new double[k.LongLength], dv = new double[v.LongLength];
        for (int i = 0; i < m; i++)
        {
            for (int h = 0; h < heads; h++)
            {
                long query = ((long)i * heads + h) * d;
                double delta = 0; // Σⱼ pⱼ·dpⱼ of the softmax's gradient equals dO·O (Dao et al., 2022).
                for (int e = 0; e < d; e++) delta += dO[query + e] * o[query + e];
                for (int j = layout.KeyStart[i]; j < layout.KeyEnd[i]; j++)
                {
                    long key = KeyOffset(operands, j, h, d);
                    (double score, double slope) = Score(operands, q, query, k, key, d);
                    double probability = Math.Exp(score - logSumExp[(long)i * heads + h]);
                    double dProbability = 0;
                    for (int e = 0; e < d; e++)
                    {
                        dProbability += dO[query + e] * v[key + e];
                        dv[key + e] += probability * dO[query + e];
                    }
                    double dScore = probability * (dProbability - delta) * slope;
                    for (int e = 0; e < d; e++)
                    {
                        dq[query + e] += dScore * k[key + e];
                        dk[key + e] += dScore * q[query + e];
                    }
                }
            }
        }
        Elements.Write(dq, dQuery);
        Elements.Write(dk, dKey);
        Elements.Write(dv, dValue);
    }

    /// <summary>The capped score of one query and key, and its derivative by q·k.</summary>
    private static (double Score, double Slope) Score(in AttentionOperands operands, double[] q, long query, double[] k, long key, int d)
    {
        double dot = 0;
        for (int e = 0; e < d; e++) dot += q[query + e] * k[key + e];
        double score = operands.Scale * dot;
        if (operands.SoftCap == 0) return (score, operands.Scale);
        double tanh = Math.Tanh(score / operands.SoftCap);
        return (operands.SoftCap * tanh, operands.Scale * (1 - tanh * tanh));
    }

    private static long KeyOffset(in AttentionOperands operands, int row, int head, int d) =>
        ((long)row * operands.KeyValueHeads + head / (operands.Heads / operands.KeyValueHeads)) * d;

    private static int HeadSize(in AttentionOperands operands)
    {
        int heads = operands.Heads, keyValueHeads = operands.KeyValueHeads;
        if (heads <= 0 || keyValueHeads <= 0 || heads % keyValueHeads != 0 || operands.Query.Columns % heads != 0)
            throw new ArgumentException($"{operands.Query.Columns} columns, {heads} heads and {keyValueHeads} key-value heads do not fit.");
        int d = operands.Query.Columns / heads;
        Require.Matrix(operands.Query, operands.Layout.Queries, heads * d);
        Require.Matrix(operands.Output, operands.Layout.Queries, heads * d);
        Require.Matrix(operands.Key, operands.Layout.Keys, keyValueHeads * d);
        Require.Matrix(operands.Value, operands.Layout.Keys, keyValueHeads * d);
        Require.Matrix(operands.LogSumExp, operands.Layout.Queries, heads);
        return d;
    }
}
